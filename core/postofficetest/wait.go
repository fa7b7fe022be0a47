package postofficetest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// patience is the timeout of a wait whose context has no deadline.
const patience = 30 * time.Second

// errPatience is the error of a wait whose context had no deadline.
var errPatience = fmt.Errorf("%w after %s; pass a context with a deadline to wait longer", context.DeadlineExceeded, patience)

// watch wakes waiting goroutines after a change. The server's mutex guards it.
type watch struct {
	// watchers have a capacity of one wake-up each. Each is created by the waiting
	// goroutine, so that it belongs to the same bubble of testing/synctest.
	watchers map[chan struct{}]bool
}

// notify wakes all waiting goroutines. The caller holds the mutex.
func (s *Server) notify() {
	for watcher := range s.watchers {
		select {
		case watcher <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}

// Wait returns nil as soon as the condition holds. The condition reads the server's
// accessors; Wait calls it in the caller's goroutine, at once and after every change
// of the server's data.
//
// A wait ends with an error when the context ends, or after 30 s if the context has
// no deadline: long enough for a busy machine, and shorter than the timeout of go
// test. For another limit, pass a context with a deadline. The error wraps [context.DeadlineExceeded] or [context.Canceled],
// or is [ErrClosed].
//
// In a bubble of testing/synctest the limit is 30 s of the bubble's time; see
// [Server.Transport].
func (s *Server) Wait(ctx context.Context, condition func() bool) error {
	if _, limited := ctx.Deadline(); limited {
		return s.follow(ctx, condition)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	err := s.follow(ctx, condition)
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errPatience) {
		return errPatience
	}
	return err
}

// follow is [Server.Wait] without a default timeout.
func (s *Server) follow(ctx context.Context, condition func() bool) error {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	s.watchers[changed] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, changed)
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		switch {
		case condition():
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitForMessages waits until the server has accepted n messages of the topic, or of
// all topics if topic is empty. It ends like [Server.Wait], after 5 s by default;
// the error says what has arrived.
func (s *Server) WaitForMessages(ctx context.Context, topic string, n int) error {
	have := 0
	err := s.Wait(ctx, func() bool {
		have = s.messageCount(topic)
		return have >= n
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for %d messages%s, have %d: %w; %s", n, ofTopic(topic), have, err, s.arrivals())
	}
	return nil
}

// WaitForDeliveries waits until n attempts to deliver have ended, with any outcome.
// It ends like [Server.Wait], after 5 s by default; the error describes the
// attempts, and what the next one waits for.
func (s *Server) WaitForDeliveries(ctx context.Context, n int) error {
	have := 0
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		have = s.attempted
		return have >= n
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for %d deliveries, have %d: %w; %s; %s", n, have, err, s.attempts(), s.outstanding())
	}
	return nil
}

// WaitIdle waits until no attempt to deliver is in progress or about to start. It
// ignores retries and scheduled messages that are not due. It ends like
// [Server.Wait], after 5 s by default; the error describes the attempts in progress.
func (s *Server) WaitIdle(ctx context.Context) error {
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.settledUpTo(s.started)
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for deliveries to end: %w; %s", err, s.outstanding())
	}
	return nil
}
