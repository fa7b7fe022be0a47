package outboxpage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cached is a value that viewers share for a while, because it costs the store or the
// server something, and pages that follow changes ask often.
type cached[T any] struct {
	mu    sync.Mutex // held while the value is read: concurrent viewers share it
	good  time.Time
	value T
	err   error

	stale atomic.Bool
}

// get returns the value and its error, and reads them within a timeout unless they are
// cached. keep returns how long they are cached, from how long reading took.
func (c *cached[T]) get(
	ctx context.Context, timeout time.Duration, read func(context.Context) (T, error), keep func(took time.Duration, err error) time.Duration,
) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if !c.stale.Swap(false) && began.Before(c.good) {
		return c.value, c.err
	}
	c.good = time.Time{} // also if the function panics
	// The value is for other viewers too, so reading continues if this one disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	c.value, c.err = read(ctx)
	now := time.Now()
	c.good = now.Add(keep(now.Sub(began), c.err))
	return c.value, c.err
}

// forget makes the next page read the value again.
func (c *cached[T]) forget() { c.stale.Store(true) }

// Limits of how long counts of a store are cached.
const (
	// quickCount is the time below which counts are not cached.
	quickCount = 100 * time.Millisecond
	// countShare is how long other counts are cached, as a multiple of the time to count.
	countShare = 20
	// errorKept is the maximum for an error.
	errorKept = 30 * time.Second
)

// keepCounts returns how long counts are cached: the store may read an index of all
// messages for them.
func keepCounts(took time.Duration, err error) time.Duration {
	switch {
	case took < quickCount:
		return 0
	case err != nil:
		return min(countShare*took, errorKept)
	}
	return countShare * took
}
