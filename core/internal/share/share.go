// Package share lets concurrent calls that post messages share requests. It
// limits the requests with single messages in progress for one topic and
// attributes. A call below the limit posts at once. Other calls wait, and as
// soon as a request ends, all waiting calls share one bulk request. The package
// delivers batches only through the functions of its Config.
package share

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

const (
	// maxBytes is the maximum size of messages that share a request. A larger
	// call posts its own request, which does not count, because large messages
	// take the server long.
	maxBytes = 64 << 10
	// maxCallBytes and maxCallMessages bound a call with several messages that
	// shares a request. A larger one would gain nothing.
	maxCallBytes    = 16 << 10
	maxCallMessages = 100
	// patience is the fraction of its timeout, as a divisor, after which a call
	// no longer waits for the requests of its group, because they may hang.
	patience = 8
	// late is the fraction of its timeout, as a divisor, that a call must have
	// left to be posted. With less, it would probably end before the response,
	// and its message would be both stored and delivered. If the caller's
	// deadline ends before the timeout, late and patience refer to the
	// deadline.
	late = 16
	// minPause is the pause after which a call that still waits checks again.
	minPause = time.Millisecond
	// maxGroups is the number of groups above which idle ones are removed, and
	// maxKeptAttributes the maximum size of attributes of an idle group that is
	// kept.
	maxGroups         = 256
	maxKeptAttributes = 1 << 10
)

var errNoTurn = fmt.Errorf("other requests took all the time of the call: %w", context.DeadlineExceeded)

// Config configures a sharer.
type Config struct {
	// PerGroup is the number of requests in progress for one topic and
	// attributes above which calls share requests. If it is not positive, calls
	// neither share nor wait.
	PerGroup int
	// InAll is the number of requests in progress, for all topics, above which
	// calls wait; not positive for no limit. Requests that take long do not
	// count.
	InAll int
	// Messages is the maximum number of messages in a request.
	Messages int
	// Timeout bounds a call with one small message, BulkTimeout a call with
	// several. Both include the wait.
	Timeout, BulkTimeout time.Duration
	// TakesFew reports whether the server is known to accept only few messages
	// of a topic in one request.
	TakesFew func(topic string) bool
	// Deliver posts a batch. It must not panic.
	Deliver func(ctx context.Context, job deliver.Job) *deliver.Outcome
	// Delivered is called for each shared request that the server accepted.
	Delivered func(deliver.Delivered)
	// Late returns the failure of a message whose call ended, by the caller's
	// deadline or by the timeout, before its request was answered.
	Late func(topic string, interrupted bool) *office.Failure
	// IsOpen reports whether the circuit breaker is open.
	IsOpen func() bool
	// Origin returns the observer's origin of messages that are sent outside of
	// their call.
	Origin func(ctx context.Context) []any
	// Clock returns the current time if the age of messages is needed,
	// otherwise the zero time.
	Clock func() time.Time
	// Go runs a function in a goroutine that Stop waits for.
	Go func(func())
}

// timeout returns the timeout of a call: with bulk, of a call with several
// messages.
func (c *Config) timeout(bulk bool) time.Duration {
	if bulk {
		return c.BulkTimeout
	}
	return c.Timeout
}

// Sharer assigns calls to requests. It is safe for concurrent use.
type Sharer struct {
	config Config

	mu     sync.Mutex
	groups map[key]*group
	slots  slots
	// ready are the groups that wait only because of InAll, in the order of
	// their turns.
	ready []*group
	// waiting are the groups with calls that wait.
	waiting map[*group]struct{}
	// latency is the average time of requests that ended in time.
	latency time.Duration
	// apart maps the topics whose messages the server accepts only one by one
	// to the time until which they do not share requests.
	apart map[string]time.Time
}

// New returns a sharer.
func New(config Config) *Sharer {
	return &Sharer{
		config: config, groups: map[key]*group{}, waiting: map[*group]struct{}{}, apart: map[string]time.Time{},
		slots: slots{limit: config.InAll, patience: config.Timeout / patience},
	}
}

// Turn is the result of [Sharer.Join].
type Turn struct {
	// Outcome is the outcome of the call's messages in a shared request. If it
	// is nil, the caller must post them now, and then call End.
	Outcome *deliver.Outcome
	// Until is the deadline for a caller that has waited; otherwise zero. If it
	// expires, that says little about the server.
	Until time.Time

	sharer *Sharer
	group  *group // nil if the request does not count
	slot   int
	begin  time.Time
}

// End frees the slot of a caller that has posted its own request.
func (t Turn) End() {
	if t.group != nil {
		t.sharer.end(t.group, t.slot, t.begin)
	}
}

// Join admits a call with the messages of a batch. It returns at once if the
// caller must post them. Otherwise it waits for the outcome of a shared
// request, at most until the timeout of the call or the deadline of ctx.
func (s *Sharer) Join(ctx context.Context, b *message.Batch) Turn {
	if s.config.PerGroup <= 0 || s.config.IsOpen() {
		return Turn{}
	}
	size := b.PayloadBytes() + len(b.AttributesOf(0)) // the size in a request
	together := b.Shares() && !b.Scheduled() && !s.config.TakesFew(b.Topic)
	single := len(b.Messages) == 1
	if single && size > maxBytes || !single && (!together || size > maxCallBytes || len(b.Messages) > maxCallMessages) {
		return Turn{}
	}
	if turn := s.admit(b, together, nil); turn.group != nil {
		return turn
	}
	c := s.newCall(ctx, b, size) // calls functions of the app
	if turn := s.admit(b, together, c); turn.group != nil {
		return turn
	}
	return s.wait(c)
}

// admit begins a request of a batch if there is a free slot. Otherwise it
// enqueues the call, if it is not nil.
func (s *Sharer) admit(b *message.Batch, together bool, c *call) Turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *group
	if together && !s.isApart(b.Topic) {
		g = s.group(b)
	} else {
		g = &group{} // only this call's
	}
	s.startReady() // requests that take long have freed their slots
	if len(g.calls) == 0 && g.posts < s.config.PerGroup && s.slots.free() {
		return Turn{sharer: s, group: g, slot: s.begin(g), begin: time.Now()}
	}
	if c != nil {
		s.enqueue(c, g)
	}
	return Turn{}
}

// begin counts a request of a group and returns its slot. The mutex must be
// held.
func (s *Sharer) begin(g *group) int {
	g.posts++
	return s.slots.begin()
}

// end frees the slot of a request and assigns it to waiting calls.
func (s *Sharer) end(g *group, slot int, begin time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !g.key.bulk {
		s.learn(time.Since(begin))
	}
	g.posts--
	s.slots.end(slot)
	s.line(g)
	s.startReady()
	s.forget(g)
}

// startReady begins requests of the ready groups while there are free slots.
// The mutex must be held.
func (s *Sharer) startReady() {
	for len(s.ready) > 0 && s.slots.free() {
		next := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		next.queued = false
		if len(next.calls) > 0 && next.posts < s.config.PerGroup {
			s.start(next)
			s.line(next)
		}
		s.forget(next)
	}
}

// line adds a group to ready if only InAll keeps it from a request. The mutex
// must be held.
func (s *Sharer) line(g *group) {
	if len(g.calls) > 0 && g.posts < s.config.PerGroup && !g.queued {
		g.queued = true
		s.ready = append(s.ready, g)
	}
}

// start begins a request with waiting calls of a group. A single call posts in
// its own goroutine. The mutex must be held.
func (s *Sharer) start(g *group) {
	calls := g.take(s.config.Messages, time.Now())
	if len(g.calls) == 0 {
		delete(s.waiting, g)
	}
	if len(calls) == 0 {
		return // no call has enough time left
	}
	slot := s.begin(g)
	if len(calls) == 1 {
		calls[0].granted, calls[0].slot = true, slot
		calls[0].outcome <- nil
		return
	}
	s.config.Go(newPost(s, g, slot, calls).run)
}

// Refuse ends the waiting calls with a failure, because the circuit breaker has
// opened.
func (s *Sharer) Refuse(f *office.Failure) {
	s.mu.Lock()
	var refused []*call
	for g := range s.waiting {
		refused = append(refused, g.calls...)
		g.calls = nil
		s.forget(g)
	}
	clear(s.waiting)
	s.mu.Unlock()
	for _, c := range refused {
		c.answer(deliver.All(len(c.batch.Messages), f))
	}
}
