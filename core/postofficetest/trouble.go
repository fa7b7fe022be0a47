package postofficetest

import (
	"math"
	"time"
)

// Trouble is how the whole server fails, for programs that display it. The zero
// value is a working server.
type Trouble struct {
	// Status answers requests instead of processing them: the next Times requests,
	// or all if Times is zero. RetryAfter adds a Retry-After header. Zero means no
	// such answer.
	Status     int
	Times      int
	RetryAfter time.Duration
	// Delay delays each request.
	Delay time.Duration
	// Hang makes requests wait until the trouble ends.
	Hang bool
	// Reset cuts the connection of each request without processing it.
	Reset bool
	// Drop cuts the connection of each request after processing it.
	Drop bool
	// Unwell makes the health check answer "ko".
	Unwell bool
}

// endless is a count that is never used up.
const endless = math.MaxInt

// Break ends all faults and makes the server fail as given, until Resume or the next
// Break.
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

// Trouble returns how the server fails at present. It returns the first of several
// planned failures, and does not include FailWhen.
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
		t.RetryAfter, _ = time.ParseDuration(planned.retryAfter + "s") // zero if there is none
	}
	return t
}
