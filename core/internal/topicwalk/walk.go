// Package topicwalk selects the topics whose rows a claim by topic takes. It is
// shared by the stores that search an index by topic.
//
// A walk visits the topics that have pending rows in order, a page at a time,
// and takes rows of the topics that have due rows. Each topic costs one index
// probe. That is too expensive for every claim if thousands of topics have only
// rows that are leased or in backoff. After [bound] topics without due rows, a
// walk therefore takes a shortcut: it reads the rows that have been due for
// longest. If no other rows are due, it ends. Otherwise it takes rows of their
// topics, and visits up to bound further topics, beginning where the previous
// shortcut ended. Each topic is thus visited within a limited number of claims,
// and a claim ends as soon as it has rows.
package topicwalk

import (
	"sync"

	"github.com/postoffice-go/postoffice/core/outbox"
)

const (
	// bound is the number of topics without due rows after which a walk takes a
	// shortcut.
	bound = 128
	// pageWeight is the minimum that a page without due rows counts toward
	// bound. A page that is limited by its rows may have only one topic.
	pageWeight = 32
	// smallestPage and largestPage bound the number of topics in a page.
	smallestPage, largestPage = 32, 128
	// Oldest is the number of rows, due for longest, that a shortcut reads.
	Oldest = 256
)

// Topic is a topic that has pending rows.
type Topic struct {
	Name string
	// Due is the known number of due rows. Zero means that no row is due;
	// otherwise there may be more.
	Due int
}

// Source has the functions of a store that a walk needs. Only the store
// compares names, so its order of topics may differ from the order of their
// bytes.
type Source struct {
	// Page returns up to limit topics with pending rows, in order, after one
	// topic and up to and including end; an empty end means no end. It also
	// reports whether there may be more.
	Page func(after, end string, limit int) (topics []Topic, more bool, err error)
	// Oldest returns the topics of the [Oldest] rows that have been due for
	// longest, in order, beginning with the first topic after the given one. It
	// also reports whether no other row is due.
	Oldest func(after string) (topics []Topic, all bool, err error)
	// Take claims rows of topics, in this order, and returns their number. The
	// walk ends when the claim is full.
	Take func(topics []Topic) (claimed int, full bool, err error)
}

// Walker performs the walks for the claims of a store. The zero Walker is ready
// to use. It is safe for concurrent use.
type Walker struct {
	mutex sync.Mutex
	// resume is the topic at which the last shortcut ended.
	resume string
}

// Walk makes a source take rows as the options of a claim require. It ends when
// the claim is full or all topics with due rows were visited. It also ends when
// it has claimed rows and has passed many topics without due rows. It claims
// nothing only if there is nothing to claim.
func (r *Walker) Walk(options outbox.ClaimOptions, source Source) error {
	w := &walk{
		Source:  source,
		page:    min(max(options.Limit, smallestPage), largestPage),
		visited: make(map[string]bool, len(options.SkipTopics)),
	}
	for _, topic := range options.SkipTopics {
		w.visited[topic] = true
	}
	shortcut := false
	round := circle{start: options.AfterTopic, after: options.AfterTopic}
	for passed := 0; !round.done && !w.full; {
		n, err := w.step(&round)
		if err != nil {
			return err
		}
		passed += n
		if passed >= bound && !shortcut && !round.done && !w.full {
			shortcut = true
			if done, err := r.shortcut(w, options.AfterTopic); done || err != nil {
				return err
			}
		}
		if shortcut && w.claimed > 0 {
			return nil
		}
	}
	return nil
}

// shortcut takes rows of the topics whose rows have been due for longest.
// Unless no other row is due, it also visits topics from the end of the last
// shortcut on. It reports whether no other row is due.
func (r *Walker) shortcut(w *walk, start string) (done bool, err error) {
	oldest, all, err := w.Oldest(start)
	if err == nil {
		err = w.take(w.due(oldest))
	}
	if all || w.full || err != nil {
		return true, err
	}
	r.mutex.Lock()
	resume := r.resume
	r.mutex.Unlock()
	round := circle{start: resume, after: resume}
	for passed := 0; passed < bound && !round.done && !w.full; {
		n, err := w.step(&round)
		if err != nil {
			return false, err
		}
		passed += n
	}
	r.mutex.Lock()
	r.resume = round.after
	r.mutex.Unlock()
	return round.done || w.full, nil
}

// walk is the state of one walk.
type walk struct {
	Source
	page    int             // maximum number of topics in a page
	visited map[string]bool // topics whose rows are not taken any more
	claimed int
	full    bool
}

// circle is the position of a walk through all topics, from one topic back to
// it.
type circle struct {
	start, after string
	around       bool // it has passed the last topic and continued with the first
	done         bool
}

// step visits a page of topics and returns how many have no due rows.
func (w *walk) step(c *circle) (passed int, err error) {
	end := ""
	if c.around {
		end = c.start
	}
	topics, more, err := w.Page(c.after, end, w.page)
	switch {
	case err != nil:
		return 0, err
	case more && len(topics) > 0:
		c.after = topics[len(topics)-1].Name
	case !c.around && c.start != "":
		c.around, c.after = true, ""
	default:
		c.done = true
	}
	due := w.due(topics)
	passed = len(topics) - len(due)
	if len(due) == 0 {
		passed = max(passed, pageWeight)
	}
	return passed, w.take(due)
}

// due returns the topics that have due rows and were not visited before, and
// marks them as visited.
func (w *walk) due(topics []Topic) []Topic {
	var due []Topic
	for _, topic := range topics {
		if topic.Due > 0 && !w.visited[topic.Name] {
			w.visited[topic.Name] = true
			due = append(due, topic)
		}
	}
	return due
}

func (w *walk) take(topics []Topic) error {
	if len(topics) == 0 {
		return nil
	}
	claimed, full, err := w.Take(topics)
	w.claimed += claimed
	w.full = full
	return err
}
