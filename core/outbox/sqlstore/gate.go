package sqlstore

import (
	"context"
	"slices"
	"sync"
)

// gate is a lock that many callers can share or one can hold, like sync.RWMutex.
// Callers get it in the order of their calls, and wait until their context ends.
type gate struct {
	mutex   sync.Mutex
	sharers int
	held    bool
	queue   []*waiter
}

// waiter is a call that waits for a gate.
type waiter struct {
	holds    bool
	admitted chan struct{}
}

// share waits until nobody holds the gate. Call leave afterwards.
func (g *gate) share(ctx context.Context) error { return g.wait(ctx, false) }

// hold waits until nobody holds or shares the gate. Call release afterwards.
func (g *gate) hold(ctx context.Context) error { return g.wait(ctx, true) }

func (g *gate) leave() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.sharers--
	g.admit()
}

func (g *gate) release() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.held = false
	g.admit()
}

// admit admits the waiters at the front of the queue. The caller holds the mutex.
func (g *gate) admit() {
	for len(g.queue) > 0 && !g.held {
		first := g.queue[0]
		if first.holds && g.sharers > 0 {
			return
		}
		g.queue = slices.Delete(g.queue, 0, 1)
		if first.holds {
			g.held = true
		} else {
			g.sharers++
		}
		close(first.admitted)
	}
}

// wait queues a call until it is admitted.
func (g *gate) wait(ctx context.Context, holds bool) error {
	w := &waiter{holds: holds, admitted: make(chan struct{})}
	g.mutex.Lock()
	g.queue = append(g.queue, w)
	g.admit()
	g.mutex.Unlock()
	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	i := slices.Index(g.queue, w)
	if i < 0 {
		return nil // admitted while the context ended
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	g.admit() // callers behind one that wanted to hold the gate may share it
	return ctx.Err()
}
