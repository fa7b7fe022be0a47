package postofficetest

import (
	"context"
	"fmt"
)

// watch wakes those who wait for a change. It is guarded by the server's
// mutex.
type watch struct {
	changed  chan struct{}
	watchers int
}

// notify wakes all who wait. The mutex is held.
func (s *Server) notify() {
	if s.watchers > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// Wait returns when the condition holds: nil then, the context's error when
// that ends first, ErrClosed when the server is closed. The condition reads
// the server's accessors; it is called at once and after every change of
// what the server holds, by the caller's goroutine.
func (s *Server) Wait(ctx context.Context, condition func() bool) error {
	s.mu.Lock()
	s.watchers++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.watchers--
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
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

// WaitForMessages waits until the server has accepted n messages of the
// topic, or of all topics when it is empty. The error tells how many there
// are.
func (s *Server) WaitForMessages(ctx context.Context, topic string, n int) error {
	have := 0
	err := s.Wait(ctx, func() bool {
		have = s.messageCount(topic)
		return have >= n
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for %d messages of topic %q, have %d: %w", n, topic, have, err)
	}
	return nil
}

// WaitForDeliveries waits until n attempts to deliver have ended, with
// whatever outcome. The error tells how many there are.
func (s *Server) WaitForDeliveries(ctx context.Context, n int) error {
	have := 0
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		have = s.attempted
		return have >= n
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for %d deliveries, have %d: %w", n, have, err)
	}
	return nil
}

// WaitIdle waits until no attempt to deliver is under way or about to start.
// Retries and scheduled messages that wait for their time do not count.
func (s *Server) WaitIdle(ctx context.Context) error {
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.settledUpTo(s.started)
	})
	if err != nil {
		return fmt.Errorf("postofficetest: waiting for deliveries to end: %w", err)
	}
	return nil
}
