package outboxpage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Figures of counts.
const (
	// quickCount is the time below which counts are not kept.
	quickCount = 100 * time.Millisecond
	// countShare is how many times as long other counts are shown as it took to count.
	countShare = 20
	// errorKept is the longest time for which an error is shown.
	errorKept = 30 * time.Second
)

// counts are counts of a store, which are kept for a while: the store may read an
// index of all messages for them, and pages that follow changes ask often.
type counts[T any] struct {
	mu    sync.Mutex // held while counting: concurrent viewers share the counts
	good  time.Time
	value T
	err   error

	stale atomic.Bool
}

// of returns the counts, which a function counts within a timeout unless they are kept.
func (c *counts[T]) of(ctx context.Context, timeout time.Duration, count func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if !c.stale.Swap(false) && began.Before(c.good) {
		return c.value, c.err
	}
	c.good = time.Time{} // also if the function panics
	// The answer is for other viewers too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	c.value, c.err = count(ctx)
	now := time.Now()
	if took := now.Sub(began); took >= quickCount {
		kept := countShare * took
		if c.err != nil {
			kept = min(kept, errorKept)
		}
		c.good = now.Add(kept)
	}
	return c.value, c.err
}

// forget has the next page count again.
func (c *counts[T]) forget() { c.stale.Store(true) }
