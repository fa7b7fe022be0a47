package outboxpage

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// fewTopics is the number of topics on a page by default, maxTopics the maximum if
// the viewer asks for all.
const fewTopics, maxTopics = 10, 1000

// topicsBody has the topics with the most messages.
type topicsBody struct {
	Rows []topicRow
	// Error is the reason why there are none.
	Error string
	// All is the address of the page with all topics; empty if it shows them. More
	// means that there are more than maxTopics.
	All  string
	More bool
	// Held means that at least one message is held.
	Held bool
}

// topicRow is a topic in the list.
type topicRow struct {
	Name string
	// Waiting includes messages that are retried.
	Waiting, Held, Dead int
	// Link and DeadLink are the addresses of its messages and its dead messages.
	Link, DeadLink string
	// Chosen means that the list of messages is filtered by this topic.
	Chosen bool
}

// topicCounter is a box that counts by topic.
type topicCounter interface {
	CountTopics(ctx context.Context, limit int) ([]outbox.TopicCount, error)
}

// topicList lists the topics for a list with a filter; nil if the store does not count
// by topic. link is the address of the list with all topics.
func (p *page) topicList(ctx context.Context, f filter, all bool, link string) *topicsBody {
	counter, ok := p.box.(topicCounter)
	if !ok {
		return nil
	}
	counts, err := p.topics.get(ctx, countTimeout, func(ctx context.Context) ([]outbox.TopicCount, error) {
		counts, err := counter.CountTopics(ctx, maxTopics+1)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("counting took longer than %s", countTimeout)
		}
		return counts, err
	}, keepCounts)
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, core.ErrNoOutbox):
		return nil
	case err != nil:
		return &topicsBody{Error: reason(err)}
	}
	body := &topicsBody{More: len(counts) > maxTopics}
	counts = counts[:min(len(counts), maxTopics)]
	if !all && len(counts) > fewTopics {
		body.All, body.More = link, false
		counts = counts[:fewTopics]
	}
	for _, count := range counts {
		body.Held = body.Held || count.Held > 0
		body.Rows = append(body.Rows, topicRow{
			Name: webpage.Shown(count.Topic, webpage.MaxName), Waiting: count.Pending - count.Held, Held: count.Held, Dead: count.Dead,
			Link: f.of(count.Topic, "").link("./"), DeadLink: f.of(count.Topic, "dead").link("./"),
			Chosen: count.Topic == f.Topic,
		})
	}
	return body
}
