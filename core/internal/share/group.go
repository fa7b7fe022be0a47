package share

import (
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// key identifies messages that can share a request. Calls with one message and
// calls with several have different timeouts.
type key struct {
	topic, attributes string
	bulk              bool
}

// group holds the calls whose messages can share a request.
type group struct {
	key   key
	posts int // in progress
	// calls are the waiting calls, the oldest first.
	calls  []*call
	queued bool // in Sharer.ready
}

// group returns the group of a batch. The mutex must be held.
func (s *Sharer) group(b *message.Batch) *group {
	bulk := len(b.Messages) > 1
	if g := s.groups[key{b.Topic, string(b.Attributes), bulk}]; g != nil {
		return g
	}
	g := &group{key: key{b.Topic, string(b.Attributes), bulk}}
	s.groups[g.key] = g
	return g
}

// forget removes an idle group, unless it is likely to be used again. The mutex
// must be held.
func (s *Sharer) forget(g *group) {
	if g.posts > 0 || len(g.calls) > 0 || s.groups[g.key] != g {
		return
	}
	if len(s.groups) > maxGroups || len(g.key.attributes) > maxKeptAttributes {
		delete(s.groups, g.key)
	}
}

// take removes the calls of the next request: the oldest, and others that fit.
// It also removes calls that can no longer be posted in time; they wait for
// their end.
func (g *group) take(maxMessages int, now time.Time) []*call {
	messages, bytes := 0, 0
	var taken, left []*call
	for _, c := range g.calls {
		switch {
		case c.latest.Before(now):
		case len(taken) > 0 && (messages+len(c.batch.Messages) > maxMessages || bytes+c.size > maxBytes):
			left = append(left, c)
		default:
			messages, bytes = messages+len(c.batch.Messages), bytes+c.size
			taken = append(taken, c)
		}
	}
	g.calls = left
	return taken
}

// remove removes a call that no longer waits.
func (g *group) remove(c *call) {
	if i := slices.Index(g.calls, c); i >= 0 {
		g.calls = slices.Delete(g.calls, i, i+1)
	}
}
