package outboxpage

import (
	"context"
	"time"
)

// Times of the health check.
const (
	// healthKept is how long a result is cached.
	healthKept = 5 * time.Second
	// healthTimeout bounds a check.
	healthTimeout = time.Second
)

// health caches the result of the server's health check, so that many viewers do not
// cause many requests.
type health struct {
	ask    func(context.Context) error
	result cached[time.Time]
}

// check returns when the server was checked, and nil if it is healthy.
func (h *health) check(ctx context.Context) (time.Time, error) {
	return h.result.get(ctx, healthTimeout, func(ctx context.Context) (time.Time, error) {
		err := h.ask(ctx)
		return time.Now(), err
	}, func(time.Duration, error) time.Duration { return healthKept })
}
