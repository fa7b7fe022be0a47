package share

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// call is a call that waits for a request, or for the outcome of its messages.
type call struct {
	batch   *message.Batch
	size    int // of payloads and attributes
	group   *group
	origins []any
	since   time.Time // when it began; zero if not needed
	end     time.Time // when it gives up
	// latest is the time until which the call may be posted. pause is how long
	// it waits for the requests of its group. Both are fractions of the call's
	// time.
	latest time.Time
	pause  time.Duration
	// interrupted means that the caller's deadline ends the call before its
	// timeout.
	interrupted bool
	// post is the delivery, once one is assigned. Guarded by the mutex of the
	// sharer.
	post *post
	// granted means that the call has a slot and must post its own messages.
	// Guarded by the mutex of the sharer.
	granted bool
	slot    int // valid if granted
	// outcome receives at most one value; nil if the call is granted.
	outcome chan *deliver.Outcome
	// ended means that the call no longer waits for the request.
	ended atomic.Bool

	// left counts the messages without a result. The following fields belong to
	// the goroutine of the delivery.
	left int
	jobs []int64
	// mixed means that the response does not show which jobs belong to the
	// call.
	mixed bool
}

// newCall returns a call that begins now.
func (s *Sharer) newCall(ctx context.Context, b *message.Batch, size int) *call {
	timeout := s.config.timeout(len(b.Messages) > 1)
	begin := time.Now()
	c := &call{
		batch: b, size: size, outcome: make(chan *deliver.Outcome, 1), left: len(b.Messages),
		origins: s.config.Origin(ctx), since: s.config.Clock(), end: begin.Add(office.TimeFor(timeout, size)),
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(c.end) {
		c.end, c.interrupted = deadline, true
	}
	short := min(s.config.Timeout, c.end.Sub(begin))
	c.latest, c.pause = c.end.Add(-short/late), short/patience
	s.mu.Lock()
	defer s.mu.Unlock()
	c.pause = min(c.pause, s.slots.patience)
	return c
}

// enqueue adds a call to the waiting ones. The mutex must be held.
func (s *Sharer) enqueue(c *call, g *group) {
	c.group = g
	g.calls = append(g.calls, c)
	s.waiting[g] = struct{}{}
	s.line(g)
}

// wait waits until the outcome of a call is known, or its request is granted,
// or its time is over.
func (s *Sharer) wait(c *call) Turn {
	timer := time.NewTimer(min(c.pause, time.Until(c.end)))
	defer timer.Stop()
	for {
		select {
		case outcome := <-c.outcome:
			if outcome == nil {
				return Turn{Until: c.end, sharer: s, group: c.group, slot: c.slot, begin: time.Now()}
			}
			return Turn{Outcome: outcome}
		case <-timer.C:
		}
		left := time.Until(c.end)
		if left <= 0 {
			return Turn{Outcome: s.leave(c)}
		}
		s.expedite(c)
		timer.Reset(min(max(c.pause, minPause), left))
	}
}

// expedite starts another request for a call that still waits, because the
// requests in progress may hang. Groups in the queue go first.
func (s *Sharer) expedite(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startReady()
	for s.slots.free() && slices.Contains(c.group.calls, c) {
		s.start(c.group)
	}
}

// leave ends a call whose time is over.
func (s *Sharer) leave(c *call) *deliver.Outcome {
	s.mu.Lock()
	p, granted := c.post, c.granted
	if p == nil && !granted {
		c.group.remove(c)
		if len(c.group.calls) == 0 {
			delete(s.waiting, c.group)
			s.forget(c.group)
		}
	}
	s.mu.Unlock()
	if granted {
		s.end(c.group, c.slot, time.Time{}) // the grant came too late
	}
	if p == nil {
		return deliver.All(len(c.batch.Messages), &office.Failure{Class: office.Transient, Cause: errNoTurn, Untried: true})
	}
	select {
	case outcome := <-c.outcome:
		return outcome // the outcome came at the last moment
	default:
	}
	f := s.config.Late(c.batch.Topic, c.interrupted)
	c.ended.Store(true)
	return deliver.All(len(c.batch.Messages), f)
}

// delivered records that messages of the call were accepted by a request, alone
// or together with messages of other calls.
func (c *call) delivered(messages int, jobs []int64, alone bool) {
	switch {
	case jobs == nil, !alone && len(jobs) > 0:
		c.mixed = true
	case c.jobs == nil:
		c.jobs = append([]int64{}, jobs...)
	default:
		c.jobs = append(c.jobs, jobs...)
	}
	c.left -= messages
}

// answer ends the wait of a call.
func (c *call) answer(outcome *deliver.Outcome) {
	if !c.mixed {
		outcome.Jobs = c.jobs
	}
	c.outcome <- outcome
}
