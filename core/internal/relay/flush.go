package relay

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// flush is a call of Flush. It ends in three steps: no row is due, the posts in
// progress at that time have ended, and they are settled.
type flush struct {
	done  chan struct{}
	posts map[*post]bool
	// settled is how many settlements must have ended once posts is empty.
	settled int
}

// flushes are the calls of Flush.
type flushes struct {
	mu sync.Mutex
	// calls are the calls that wait for due rows.
	calls map[*flush]bool
}

// Flush waits until a claim has found no due row and all rows that the relay
// held at that time are settled: delivered, rescheduled or dead. Call it while
// Run runs.
func (r *Relay) Flush(ctx context.Context) error {
	f := &flush{done: make(chan struct{})}
	r.flushes.mu.Lock()
	if r.flushes.calls == nil {
		r.flushes.calls = map[*flush]bool{}
	}
	r.flushes.calls[f] = true
	r.flushes.mu.Unlock()
	r.Wake()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		r.flushes.mu.Lock()
		defer r.flushes.mu.Unlock()
		delete(r.flushes.calls, f)
		return ctx.Err()
	}
}

// waiting returns the calls that wait for due rows.
func (f *flushes) waiting() []*flush {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.calls))
}

// drained advances the given calls, because no row was due after they began.
func (d *dispatcher) drained(calls []*flush) {
	if len(calls) == 0 || d.rows > 0 {
		return
	}
	d.flushes.mu.Lock()
	defer d.flushes.mu.Unlock()
	for _, f := range calls {
		if !d.flushes.calls[f] {
			continue // canceled, or drained before
		}
		delete(d.flushes.calls, f)
		f.posts = map[*post]bool{}
		for _, p := range d.posts {
			f.posts[p] = true
		}
		d.flushing = append(d.flushing, f)
	}
}

// flush ends the calls whose rows are settled.
func (d *dispatcher) flush() {
	d.flushing = slices.DeleteFunc(d.flushing, func(f *flush) bool {
		maps.DeleteFunc(f.posts, func(p *post, _ bool) bool { return !slices.Contains(d.posts, p) })
		if len(f.posts) > 0 {
			return false
		}
		if f.settled == 0 {
			f.settled = d.settling.count()
		}
		if !d.settling.reached(f.settled) {
			return false
		}
		close(f.done)
		return true
	})
}
