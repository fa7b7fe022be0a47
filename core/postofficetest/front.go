package postofficetest

import (
	"errors"
	"net/http"
	"time"
)

// WithFront sets the handler at the server's address, in place of the API alone: for
// programs that serve pages beside it. The function gets the server and mounts
// [Server.Handler]; it is called each time that the server begins to listen, and
// must not call Stop, Restart or Close itself.
func WithFront(front func(*Server) http.Handler) Option {
	return func(s *settings) error {
		if front == nil {
			return errors.New("WithFront: the function is nil")
		}
		s.front = front
		return nil
	}
}

// front returns the handler at the server's address.
func (s *Server) front() http.Handler {
	if s.settings.front == nil {
		return s.Handler()
	}
	return s.settings.front(s)
}

// WithMaxGap bounds how long a job waits for its next attempt: after a failed one,
// and while its consumer is paused. The default, zero, waits as long as the real
// server, from 16 s to 12 days, or 30 s when paused.
func WithMaxGap(d time.Duration) Option {
	return func(s *settings) error { return atLeast(0, "WithMaxGap", &s.maxGap, d) }
}

// gap returns how long a job waits if it waits for d on a real server.
func (c settings) gap(d time.Duration) time.Duration {
	if c.maxGap > 0 {
		return min(d, c.maxGap)
	}
	return d
}
