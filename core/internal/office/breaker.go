package office

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
)

// Limits of the circuit breaker.
const (
	breakerWindow      = 10 * time.Second
	breakerBucket      = time.Second
	breakerConsecutive = 5
	// askAfter is the number of consecutive failures, each possibly caused by a
	// message, after which the server is checked.
	askAfter = breakerConsecutive - 1
	// maxBlamed is the maximum number of different consecutive messages that
	// may have caused failures. A server that fails more messages accepts none,
	// for example because its database is read-only, even if it answers an
	// empty request.
	maxBlamed          = 1000
	breakerMinRequests = 20
)

// ErrBreakerOpen is the cause of a request that the breaker blocked.
var ErrBreakerOpen = errors.New("circuit breaker is open: the server failed repeatedly")

// Pause is how long the breaker stays open before one message probes the
// server.
const Pause = time.Second

// errPanicked is the outcome of a request that panicked.
var errPanicked = errors.New("panic")

// breaker prevents an app from waiting for a server that is down. It opens
// after 5 consecutive failures, or when half of at least 20 requests within 10
// s failed.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	changes *circuit.Changes

	// consecutive counts the consecutive failures. doubtful means that the last
	// one may have been caused by a message. asking means that the server is
	// being checked.
	consecutive      atomic.Int32
	doubtful, asking atomic.Bool
	// blamed counts the messages that failed for the first time since the
	// server last accepted one.
	blamed atomic.Int32
}

// newBreaker returns a breaker that reports its changes.
func newBreaker(changed func(circuit.State)) *breaker {
	b := &breaker{changes: circuit.NewChanges(changed)}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     breakerWindow,
		BucketPeriod: breakerBucket,
		Timeout:      Pause,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			requests := counts.Requests - counts.TotalExclusions
			return b.consecutive.Load() >= breakerConsecutive ||
				requests >= breakerMinRequests && counts.TotalFailures*2 >= requests
		},
		IsSuccessful: func(err error) bool {
			return err == nil || !AsFailure(err).failsServer()
		},
		IsExcluded: func(err error) bool {
			if err == nil {
				return false
			}
			f := AsFailure(err)
			return f.Interrupted || f.doubtful() && !f.TimedOut && !b.acceptsNone()
		},
		OnStateChange: func(_ string, _, to gobreaker.State) { b.changes.Add(circuit.StateOf(to)) },
	})
	return b
}

// Refused returns the failure of a message that the breaker blocks.
func Refused() *Failure {
	return &Failure{Class: Transient, Cause: ErrBreakerOpen, Untried: true}
}

// allow asks for permission to send a request. The caller must pass the outcome
// to done.
func (b *breaker) allow() (done func(*Failure), refused *Failure) {
	report, err := b.circuit.Allow()
	if err != nil {
		b.changes.Report()
		return nil, Refused()
	}
	reported := false
	defer func() {
		if !reported {
			// The observer panicked: nothing is sent, and the next message
			// probes the server.
			report(&Failure{Interrupted: true, Cause: errPanicked})
		}
	}()
	b.changes.Report()
	reported = true
	return func(f *Failure) {
		defer b.changes.Report()
		b.count(f)
		report(f.asError())
	}, nil
}

// count updates the number of consecutive failures.
func (b *breaker) count(f *Failure) {
	switch {
	case f != nil && f.Interrupted:
	case f == nil || !f.failsServer():
		b.consecutive.Store(0)
		b.doubtful.Store(false)
		if f == nil || !f.OfServer {
			b.blamed.Store(0)
		}
	default:
		// Failures that may be caused by messages do not open the breaker by
		// themselves: the server is checked first.
		if f.OfServer || !f.doubtful() || b.consecutive.Load() < askAfter || b.acceptsNone() {
			b.consecutive.Add(1)
		}
		if !f.OfServer {
			b.doubtful.Store(f.doubtful())
		}
	}
}

// asks reports whether the caller must check the server with [Office.Ask]
// before its own request, and then call asked. It returns true to one caller at
// a time.
func (b *breaker) asks() bool {
	return b.doubtful.Load() && b.consecutive.Load() >= askAfter && !b.acceptsNone() && b.asking.CompareAndSwap(false, true)
}

func (b *breaker) asked() { b.asking.Store(false) }

// blame counts a message that failed for the first time and may have caused the
// failure.
func (b *breaker) blame(f *Failure) {
	if f.doubtful() {
		b.blamed.Add(1)
	}
}

// acceptsNone reports that the server accepts no messages, although it may
// answer other requests.
func (b *breaker) acceptsNone() bool { return b.blamed.Load() >= maxBlamed }

// state returns the state. Calling it turns an open breaker half-open when its
// pause is over.
func (b *breaker) state() circuit.State {
	defer b.changes.Report()
	return circuit.StateOf(b.circuit.State())
}

// isOpen reports whether the breaker is open. It is cheap while the breaker is
// closed.
func (b *breaker) isOpen() bool { return !b.changes.Closed() && b.state() == circuit.Open }
