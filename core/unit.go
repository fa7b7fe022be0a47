package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/queue"
)

// errNeverEnded is the reason for dropping the messages of a unit of work that
// was never ended.
var errNeverEnded = errors.New("the unit of work was ended neither by a response nor by Publisher.End")

// endedGrace is the time after the end of a request's context within which a
// response may still begin. The context also ends when the client disconnects;
// the framework then still writes the response to an error.
const endedGrace = 10 * time.Second

// unit is a unit of work: it holds the messages of a publisher with
// Options.FlushOn until it ends. Then they are accepted or dropped together.
type unit struct {
	pipeline *pipeline
	options  Options
	// request is the context of the request; nil outside of requests.
	request context.Context //nolint:containedctx // a unit lives as long as its request

	mu    sync.Mutex
	ended bool
	// lost is the reason why the messages were not accepted although they
	// should have been, or were dropped before the unit ended.
	lost error
	held []message.Batch
	// inCall means that Stop waits for the unit to end, because its handler
	// runs.
	inCall bool
	// open means that the unit is in pipeline.units.
	open bool
	// forget cancels the wait of an open unit for the end of its request; nil
	// if there is none.
	forget func() bool
}

// hold keeps messages until the unit ends. It reports false if the unit has
// ended: the caller then accepts them. The caller must have entered the gate.
func (u *unit) hold(ctx context.Context, b *message.Batch) (held bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.lost != nil:
		return false, u.lost // the response has reported that nothing is accepted
	case u.ended:
		return false, u.expired(ctx)
	}
	// If memory is full, the call fails. It cannot store the messages, because
	// they could not be dropped then, and it cannot wait, because memory may be
	// full of its own unit's messages.
	if !u.pipeline.queue.ReserveSafe(b) {
		return true, fmt.Errorf("%w: %w", ErrNotAccepted, queue.ErrFull)
	}
	if u.held == nil {
		if u.inCall {
			u.pipeline.gate.stay()
		} else {
			u.setOpen()
		}
	}
	u.held = append(u.held, *b)
	return true, nil
}

// expired returns an error after the deadline of a call or of the request, when
// the response to the timeout has probably been sent already.
func (u *unit) expired(ctx context.Context) error {
	for _, ctx := range [...]context.Context{ctx, u.request} {
		if ctx != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrNotAccepted, context.Cause(ctx))
		}
	}
	return nil
}

// leaveOpen makes Stop no longer wait for a unit whose handler has returned
// without a response.
func (u *unit) leaveOpen() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	if u.held != nil {
		u.setOpen()
		u.pipeline.gate.leave()
	}
	u.inCall = false
}

// setOpen makes Stop, or the end of the request, discard the messages that the
// unit holds.
func (u *unit) setOpen() {
	u.open = true
	u.pipeline.units.add(u)
	if u.request != nil {
		u.forget = context.AfterFunc(u.request, func() { time.AfterFunc(endedGrace, func() { u.discard(errNeverEnded) }) })
	}
}

// take ends the unit and returns its messages. If counted is true, the caller
// must leave the gate, for which Stop waits. A non-nil cause marks the messages
// as lost. The error is the reason why messages of the unit are lost; nil if
// they are not.
func (u *unit) take(cause error) (held []message.Batch, counted bool, lost error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	held, counted = u.held, u.held != nil && !u.open
	if held != nil && cause != nil {
		u.lost = fmt.Errorf("%w: %w", ErrNotAccepted, cause)
	}
	u.held, u.ended = nil, true
	if u.open {
		u.open = false
		u.pipeline.units.remove(u)
		if u.forget != nil {
			u.forget()
		}
	}
	return held, counted, u.lost
}

// end ends the unit: Options.FlushOn decides whether its messages are accepted.
// The receipt has the state Unknown if they are dropped. If FlushOn accepts
// messages that are already lost, end returns an error.
func (u *unit) end(ctx context.Context, outcome Outcome) (receipt Receipt, err error) {
	held, counted, lost := u.take(nil)
	if held == nil && lost == nil {
		return Receipt{State: Delivered}, nil
	}
	if counted {
		defer u.pipeline.gate.leave()
	}
	begun := false
	defer func() {
		if !begun {
			u.pipeline.drop(held, err) // also if FlushOn panics
		}
		if err != nil {
			u.lose(err)
		}
	}()
	if outcome.Panicked || !u.options.FlushOn(outcome) {
		return Receipt{}, nil
	}
	if err := u.expired(ctx); err != nil {
		return Receipt{}, err
	}
	if !counted {
		if err := u.pipeline.gate.enter(); err != nil {
			return Receipt{}, err
		}
		defer u.pipeline.gate.leave()
	}
	if lost != nil {
		return Receipt{}, lost
	}
	begun = true
	receipt, rest, err := u.pipeline.acceptTogether(ctx, u.options.AfterResponse, held)
	if err != nil {
		u.pipeline.discarded(rest, err)
	}
	return receipt, err
}

// lose makes later messages of the unit fail with the cause.
func (u *unit) lose(cause error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lost = cause
}

// discard ends the unit and drops its messages. A non-nil cause means that
// FlushOn did not decide so, and that the messages are lost.
func (u *unit) discard(cause error) {
	held, counted, _ := u.take(cause)
	if counted {
		defer u.pipeline.gate.leave()
	}
	u.pipeline.drop(held, cause)
}

// units is the set of the units of work that hold messages and for which Stop
// does not wait. The zero value is ready to use.
type units struct {
	mu   sync.Mutex
	open map[*unit]struct{}
}

func (s *units) add(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*unit]struct{}{}
	}
	s.open[u] = struct{}{}
}

func (s *units) remove(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, u)
}

// discardAll drops the messages of all units.
func (s *units) discardAll() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for u := range open {
		u.discard(errNeverEnded)
	}
}
