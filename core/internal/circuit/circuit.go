// Package circuit has the common parts of the client's circuit breakers: their
// states, and the report of state changes.
package circuit

import (
	"sync"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
)

// State is the state of a circuit breaker.
type State string

// States of a circuit breaker.
const (
	Closed   State = "closed"
	HalfOpen State = "half-open"
	Open     State = "open"
)

// StateOf converts a state of gobreaker.
func StateOf(state gobreaker.State) State {
	switch state {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	default:
		return Closed
	}
}

// Changes reports state changes in order, without the lock that gobreaker holds
// while it calls back. It is safe for concurrent use.
type Changes struct {
	report func(State)

	unclosed atomic.Bool // saves a query of the circuit breaker
	pending  atomic.Bool // some changes are not reported yet
	mu       sync.Mutex
	list     []State
	// reporting means that a goroutine is reporting. It also reports changes
	// that are added later, which keeps them in order.
	reporting bool
}

// NewChanges returns a reporter that calls a function with each change. The
// initial state is Closed.
func NewChanges(report func(State)) *Changes { return &Changes{report: report} }

// Add adds a change. It may be called with locks held.
func (c *Changes) Add(to State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unclosed.Store(to != Closed)
	c.list = append(c.list, to)
	c.pending.Store(true)
}

// Closed reports whether the last change was to Closed, or there was none.
func (c *Changes) Closed() bool { return !c.unclosed.Load() }

// Report reports the changes since the last report. It is cheap if there are
// none.
func (c *Changes) Report() {
	if !c.pending.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reporting {
		return
	}
	c.reporting = true
	defer func() { c.reporting = false }() // also if the function panics
	for len(c.list) > 0 {
		state := c.list[0]
		c.list = c.list[1:]
		c.pending.Store(len(c.list) > 0)
		c.notify(state)
	}
}

// notify reports a change. The mutex must be held; notify releases it during
// the call, because the function may query the state.
func (c *Changes) notify(state State) {
	c.mu.Unlock()
	defer c.mu.Lock()
	c.report(state)
}
