package outboxpage

import (
	"context"
	"sync"
	"time"
)

// Times of the health check.
const (
	// healthFresh is how long a result is cached.
	healthFresh = 5 * time.Second
	// healthTimeout bounds a check.
	healthTimeout = time.Second
)

// health caches the result of the server's health check, so that many viewers do not
// cause many requests.
type health struct {
	ask func(context.Context) error

	mu    sync.Mutex // held during a check: concurrent callers share its result
	asked time.Time
	err   error
}

// check returns when the server was checked, and nil if it is healthy.
func (h *health) check(ctx context.Context) (time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked.IsZero() || time.Since(h.asked) >= healthFresh {
		// The result is for other viewers too, so the check continues even if
		// this viewer disconnects.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		h.err = h.ask(ctx)
		h.asked = time.Now()
	}
	return h.asked, h.err
}
