// Package topicwalk chooses the topics that a claim by topic takes rows of. The
// stores that search an index by topic share it.
//
// A walk visits the topics that have pending rows in order, a page at a time, and
// takes rows of those that have due ones. That costs a probe of the index for
// each topic, which is too much for every claim where thousands of topics have
// rows that are leased or in backoff. A walk that has passed [bound] topics
// without due rows therefore looks at the longest due rows instead. If those are
// all, it is done. Otherwise it takes rows of their topics and goes on where the
// bounded walk before it ended, for as many topics again. So each topic is
// visited within a number of claims, and a claim ends as soon as it has something.
package topicwalk

import (
	"sync"

	"github.com/postoffice-go/postoffice/core/outbox"
)

const (
	// bound is how many topics without due rows a walk passes before it takes a
	// shortcut.
	bound = 128
	// pageWeight is what a page without due rows counts at least. Pages that are
	// limited by rows may have a topic each.
	pageWeight = 32
	// smallestPage and largestPage bound the topics that are asked for at a time.
	smallestPage, largestPage = 32, 128
	// Oldest is how many of the longest due rows a shortcut looks at.
	Oldest = 256
)

// Topic is a topic that has pending rows.
type Topic struct {
	Name string
	// Due is how many of its rows are known to be due. Zero means that none is,
	// and more that there may be others beside them.
	Due int
}

// Source is what a walk needs of a store. Names are compared by the store alone,
// so its order of topics need not be that of their bytes.
type Source struct {
	// Page returns topics with pending rows in order: those after one topic, up
	// to and including another, which is empty for no end. It returns at most so
	// many, and whether there may be more.
	Page func(after, end string, limit int) (topics []Topic, more bool, err error)
	// Oldest returns the topics of the [Oldest] longest due rows, in order, those
	// after the topic first, and whether no other row is due.
	Oldest func(after string) (topics []Topic, all bool, err error)
	// Take claims rows of topics, in this order, and returns how many. The walk
	// ends when it is full.
	Take func(topics []Topic) (claimed int, full bool, err error)
}

// Walker walks for the claims of a store. The zero Walker is ready to use, from
// several goroutines.
type Walker struct {
	mutex sync.Mutex
	// resume is the topic at which the last bounded walk ended.
	resume string
}

// Walk has a source take rows by the options of a claim. It ends when the claim is
// full, or has rows of all topics that have due ones; also when it has claimed
// something and has passed many topics without due rows. It claims nothing only
// if there is nothing to be claimed.
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

// shortcut takes rows of the topics of the longest due rows and, unless no other
// row is due, of those that come after the end of the last shortcut. It reports
// whether no others are due.
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

// walk is what one walk knows.
type walk struct {
	Source
	page    int             // topics a page
	visited map[string]bool // the topics that it takes no more rows of
	claimed int
	full    bool
}

// circle is the way through all topics that begins after one.
type circle struct {
	start, after string
	around       bool // whether it has begun again with the first topic
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

// due returns the topics that have due rows, but for those that were visited, and
// notes that they are visited.
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
