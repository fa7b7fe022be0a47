package postofficetest

import (
	"math"
	"time"
)

// Trouble is how the server fails, as a whole, for programs that show it. The
// zero value is a server that is well.
type Trouble struct {
	// Status answers requests instead of processing them: the next Times, or
	// all when that is zero. RetryAfter adds a Retry-After header. Zero for
	// no such answer.
	Status     int
	Times      int
	RetryAfter time.Duration
	// Delay holds each request back.
	Delay time.Duration
	// Hang lets requests wait until the trouble ends.
	Hang bool
	// Reset cuts the connection of each request, which is not processed.
	Reset bool
	// Drop cuts the connection of each request after it was processed.
	Drop bool
	// Unwell lets the health check say "ko".
	Unwell bool
}

// endless is a count that is never used up.
const endless = math.MaxInt

// Break ends all faults and lets the server fail as said, until Resume or the
// next Break.
func (o *Operator) Break(t Trouble) {
	s := o.server
	s.Resume()
	f := &s.faults
	f.mu.Lock()
	if t.Status != 0 {
		times := t.Times
		if times < 1 {
			times = endless
		}
		f.queue = []failure{newFailure(times, Answer{Status: t.Status, RetryAfter: t.RetryAfter})}
	}
	f.delay, f.ko = max(t.Delay, 0), t.Unwell
	if t.Hang {
		f.hang = new(hang)
	}
	if t.Reset {
		f.reset = endless
	}
	if t.Drop {
		f.drop = endless
	}
	f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify()
}

// Trouble tells how the server fails at present. It shows the first of several
// planned failures, and no function of FailWhen.
func (o *Operator) Trouble() Trouble {
	s := o.server
	f := &s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	t := Trouble{Delay: f.delay, Hang: f.hang != nil, Reset: f.reset > 0, Drop: f.drop > 0, Unwell: f.ko}
	if len(f.queue) > 0 {
		planned := f.queue[0]
		t.Status = planned.status
		if planned.times < endless/2 {
			t.Times = planned.times
		}
		t.RetryAfter, _ = time.ParseDuration(planned.retryAfter + "s") // zero without one
	}
	return t
}
