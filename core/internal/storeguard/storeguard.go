// Package storeguard protects callers from an outbox that hangs: it is a circuit
// breaker around the calls that insert, claim and settle rows. It knows outbox.Store
// and nothing about messages.
package storeguard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

const (
	// timeouts is the number of consecutive calls that must run out of time to
	// open the breaker.
	timeouts = 3
	// pause is how long the breaker stays open before one call probes the
	// outbox.
	pause = time.Second
	// minPatience and maxPatience bound the timeout of a call whose caller has an
	// alternative, and usualTimes is how many times longer than an average insert it
	// may take.
	minPatience = 700 * time.Millisecond
	maxPatience = 5 * time.Second
	usualTimes  = 20
	// probeTime is the timeout of a call that probes the outbox. Together with pause
	// it bounds how late the client uses an outbox that works again.
	probeTime = 1500 * time.Millisecond
)

// ErrOpen is the error of a call that the breaker blocks.
var ErrOpen = errors.New("outbox does not answer: its last calls ran out of time")

// Store is an outbox behind a circuit breaker. The breaker opens after consecutive
// calls that run out of time; then one call a second probes the outbox. Errors that
// arrive in time do not open it. Calls that only read for display, and transactions
// of callers, bypass it.
type Store struct {
	outbox.Store
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	changes *circuit.Changes

	mu      sync.Mutex
	average time.Duration // average time of inserts; zero before the first
}

// New returns a guarded store. changed is called with each state change, in
// order.
func New(store outbox.Store, changed func(circuit.State)) *Store {
	s := &Store{Store: store, changes: circuit.NewChanges(changed)}
	s.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       pause,
		ReadyToTrip:   func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= timeouts },
		OnStateChange: func(_ string, _, to gobreaker.State) { s.changes.Add(circuit.StateOf(to)) },
	})
	return s
}

// State returns the state of the breaker.
func (s *Store) State() circuit.State {
	defer s.changes.Report()
	return circuit.StateOf(s.circuit.State())
}

// IsOpen reports whether the breaker is open. It is cheap while the outbox
// works.
func (s *Store) IsOpen() bool { return !s.changes.Closed() && s.State() == circuit.Open }

// Patience returns the timeout of an insert whose caller has an alternative: much
// longer than an average insert.
func (s *Store) Patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.average == 0 {
		return maxPatience
	}
	return min(max(usualTimes*s.average, minPatience), maxPatience)
}

// learn updates the average time of an insert.
func (s *Store) learn(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.average == 0 {
		s.average = took
		return
	}
	s.average += (took - s.average) / 8
}

// call makes a call unless the breaker blocks it. Only a call that runs out of time
// counts as a failure: an error that arrives in time delays nobody.
func (s *Store) call(ctx context.Context, do func(context.Context) error) error {
	probes := !s.changes.Closed()
	done, err := s.circuit.Allow()
	s.changes.Report()
	if err != nil {
		return ErrOpen
	}
	if probes {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, probeTime)
		defer cancel()
	}
	outcome := context.DeadlineExceeded // if the store panics
	defer func() {
		done(outcome)
		s.changes.Report()
	}()
	err = do(ctx)
	outcome = nil
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		outcome = ctx.Err()
	}
	return err
}

// Insert implements [outbox.Store].
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	return s.call(ctx, func(ctx context.Context) error {
		began := time.Now()
		err := s.Store.Insert(ctx, delay, records...)
		if err == nil || ctx.Err() != nil { // or patience would not grow when the outbox becomes slow
			s.learn(time.Since(began))
		}
		return err
	})
}

// ask makes a call with a result.
func ask[T any](ctx context.Context, s *Store, do func(context.Context) (T, error)) (result T, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		result, err = do(ctx)
		return err
	})
	return result, err
}

// Claim implements [outbox.Store].
func (s *Store) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	return ask(ctx, s, func(ctx context.Context) ([]outbox.Record, error) { return s.Store.Claim(ctx, options) })
}

// Delete implements [outbox.Store].
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	return ask(ctx, s, func(ctx context.Context) (int, error) { return s.Store.Delete(ctx, ids...) })
}

// Reschedule implements [outbox.Store].
func (s *Store) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	return ask(ctx, s, func(ctx context.Context) (int, error) { return s.Store.Reschedule(ctx, changes...) })
}

// Next implements [outbox.Store].
func (s *Store) Next(ctx context.Context) (after time.Duration, ok bool, err error) {
	after, err = ask(ctx, s, func(ctx context.Context) (after time.Duration, err error) {
		after, ok, err = s.Store.Next(ctx)
		return after, err
	})
	return after, ok, err
}
