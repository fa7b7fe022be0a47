package outboxpage

import (
	"context"
	"sync"
	"time"
)

// Figures of the health check.
const (
	// healthFresh is for how long an answer of the server is good.
	healthFresh = 5 * time.Second
	// healthTimeout is how long a page waits for the server.
	healthTimeout = time.Second
)

// health remembers for a while how the server is, so that many who look at
// the page do not ask it each time.
type health struct {
	ask func(context.Context) error

	mu    sync.Mutex // held while asking: who comes meanwhile gets the answer too
	asked time.Time
	err   error
}

// check tells when the server was asked, and how it is: nil if it is well.
func (h *health) check(ctx context.Context) (time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked.IsZero() || time.Since(h.asked) >= healthFresh {
		// The answer is for others too, so it is waited for though this
		// viewer may be gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		h.err = h.ask(ctx)
		h.asked = time.Now()
	}
	return h.asked, h.err
}
