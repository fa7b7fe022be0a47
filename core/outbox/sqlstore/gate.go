package sqlstore

import (
	"context"
	"sync"
)

// gate is a lock that many share or one holds, like sync.RWMutex, and that is
// waited for as long as a context lasts.
type gate struct {
	mutex   sync.Mutex
	sharers int
	held    bool
	// waiting are those who want to hold it; they keep new sharers out.
	waiting int
	changed chan struct{}
}

// share waits until nobody holds the gate. Call leave afterwards.
func (g *gate) share(ctx context.Context) error {
	return g.wait(ctx, func() bool {
		if g.held || g.waiting > 0 {
			return false
		}
		g.sharers++
		return true
	})
}

// hold waits until nobody holds or shares the gate. Call release afterwards.
func (g *gate) hold(ctx context.Context) error {
	g.mutex.Lock()
	g.waiting++
	g.mutex.Unlock()
	err := g.wait(ctx, func() bool {
		if g.held || g.sharers > 0 {
			return false
		}
		g.held = true
		return true
	})
	g.change(func() { g.waiting-- })
	return err
}

func (g *gate) leave()   { g.change(func() { g.sharers-- }) }
func (g *gate) release() { g.change(func() { g.held = false }) }

// change changes the gate and wakes those who wait.
func (g *gate) change(run func()) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	run()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// wait calls a function, under the lock, until it returns true.
func (g *gate) wait(ctx context.Context, try func() bool) error {
	for {
		g.mutex.Lock()
		if try() {
			g.mutex.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mutex.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
