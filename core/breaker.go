package core

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Figures of the circuit breaker.
const (
	breakerWindow      = 10 * time.Second
	breakerBucket      = time.Second
	breakerConsecutive = 5
	// askAfter is how many failures in a row, each perhaps due to a message,
	// have the server asked whether it is well.
	askAfter = breakerConsecutive - 1
	// maxBlamed is how many different messages in a row may be at fault. A
	// server that fails more accepts none, as with a database that is read-only,
	// whatever it says to an empty request.
	maxBlamed          = 1000
	breakerMinRequests = 20
	// breakerPause is how long the breaker stays open before one message may
	// probe the server.
	breakerPause = time.Second
)

// BreakerState is the state of the circuit breaker in front of the server. It
// opens after 5 failures in a row, or when half of at least 20 requests within
// 10 s failed, by the network, a timeout, 429 or 5xx; after 1 s one request probes
// the server.
//
// Messages that the server cannot take do not open it: after 4 failures in a row
// that may be due to the messages, by 5xx, a timeout or a broken connection, an
// empty bulk request asks the server. If that passes, the row begins anew. Of
// these failures timeouts alone count for the half that failed. When 1,000
// messages have failed for the first time and none was accepted between them,
// that is over.
type BreakerState string

// States of the circuit breaker.
const (
	// BreakerClosed lets every request through.
	BreakerClosed BreakerState = "closed"
	// BreakerHalfOpen lets one request through to see whether the server is
	// back.
	BreakerHalfOpen BreakerState = "half-open"
	// BreakerOpen lets nothing through: messages go to the outbox at once.
	BreakerOpen BreakerState = "open"
)

// breaker keeps an app from waiting for a server that is down, see
// [BreakerState].
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	changed func(BreakerState)

	// row counts the failures in a row, and doubtful tells that the last one
	// may be due to a message. asking tells that the server is being asked.
	row              atomic.Int32
	doubtful, asking atomic.Bool
	// blamed counts the messages that failed for the first time since the
	// server has accepted one.
	blamed atomic.Int32

	closed  atomic.Bool // as far as is known without asking the circuit
	changes atomic.Bool // there are some to report
	mu      sync.Mutex
	// list holds what is to be reported once gobreaker's own lock, which
	// is held when it tells of a change, is free again.
	list []BreakerState
	// reporting tells that somebody reports, who will see to what is added
	// meanwhile: so changes are told in their order.
	reporting bool
}

// newBreaker makes a breaker that reports its changes.
func newBreaker(changed func(BreakerState)) *breaker {
	b := &breaker{changed: changed}
	b.closed.Store(true)
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     breakerWindow,
		BucketPeriod: breakerBucket,
		Timeout:      breakerPause,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			requests := counts.Requests - counts.TotalExclusions
			return b.row.Load() >= breakerConsecutive ||
				requests >= breakerMinRequests && counts.TotalFailures*2 >= requests
		},
		IsSuccessful: func(err error) bool {
			return err == nil || !asFailure(err).failsServer()
		},
		IsExcluded: func(err error) bool {
			if err == nil {
				return false
			}
			f := asFailure(err)
			return f.interrupted || f.doubtful() && !f.timedOut && !b.barren()
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.closed.Store(to == gobreaker.StateClosed)
			b.list = append(b.list, breakerState(to))
			b.changes.Store(true)
		},
	})
	return b
}

// allow asks to send a request. The outcome must be reported to done.
func (b *breaker) allow() (done func(error), err error) {
	report, err := b.circuit.Allow()
	if err != nil {
		b.report()
		return nil, &failure{class: transient, cause: ErrBreakerOpen, untried: true}
	}
	told := false
	defer func() {
		if !told {
			// The observer has panicked: nothing is sent, and the next message
			// probes the server.
			report(&failure{interrupted: true, cause: errPanicked})
		}
	}()
	b.report()
	told = true
	return func(err error) {
		defer b.report()
		b.count(err)
		report(err)
	}, nil
}

// count notes how long the row of failures is.
func (b *breaker) count(err error) {
	f := &failure{class: permanent} // of the message, as far as the server goes
	if err != nil {
		f = asFailure(err)
	}
	switch {
	case f.interrupted:
	case !f.failsServer():
		b.row.Store(0)
		b.doubtful.Store(false)
		if !f.ofServer {
			b.blamed.Store(0)
		}
	default:
		b.row.Add(1)
		if !f.ofServer {
			b.doubtful.Store(f.doubtful())
		}
	}
}

// asks tells whether the caller must ask the server, see [transport.ask],
// before its own request, and call asked afterwards. One caller at a time must.
func (b *breaker) asks() bool {
	return b.doubtful.Load() && b.row.Load() >= askAfter && !b.barren() && b.asking.CompareAndSwap(false, true)
}

func (b *breaker) asked() { b.asking.Store(false) }

// blame notes that a message failed for the first time, perhaps by its own
// fault.
func (b *breaker) blame(f *failure) {
	if f.doubtful() {
		b.blamed.Add(1)
	}
}

// barren tells that the server accepts no messages, though it may be well.
func (b *breaker) barren() bool { return b.blamed.Load() >= maxBlamed }

// state tells the state. Asking is what turns an open breaker half-open
// when its pause is over.
func (b *breaker) state() BreakerState {
	defer b.report()
	return breakerState(b.circuit.State())
}

// isOpen tells whether the breaker is open; it costs nothing while the server
// is well.
func (b *breaker) isOpen() bool { return !b.closed.Load() && b.state() == BreakerOpen }

// report tells of the changes since the last report.
func (b *breaker) report() {
	if !b.changes.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reporting {
		return
	}
	b.reporting = true
	defer func() { b.reporting = false }() // also when the observer panics
	for len(b.list) > 0 {
		state := b.list[0]
		b.list = b.list[1:]
		b.changes.Store(len(b.list) > 0)
		b.tell(state)
	}
}

// tell tells of a change. The mutex is held, but not meanwhile, for the observer
// may ask for the state.
func (b *breaker) tell(state BreakerState) {
	b.mu.Unlock()
	defer b.mu.Lock()
	b.changed(state)
}

func breakerState(state gobreaker.State) BreakerState {
	switch state {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	default:
		return BreakerClosed
	}
}
