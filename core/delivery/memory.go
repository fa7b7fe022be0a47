package delivery

import (
	"container/list"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// DefaultMemoryKeys is how many messages a [Memory] remembers by default.
const DefaultMemoryKeys = 100_000

// Memory is a [Deduplicator] in the process's memory: it knows nothing of
// other instances of the app and forgets all when the process ends. It starts
// no goroutine. Use [NewMemory] to get one.
type Memory struct {
	max int

	mu      sync.Mutex
	entries map[string]*entry
	done    *list.List // keys of entries that are done, the oldest first
}

type entry struct {
	token string
	until time.Time     // end of the lease, or of the memory
	place *list.Element // in done; nil while it runs
}

var _ Deduplicator = (*Memory)(nil)

// NewMemory makes a deduplicator that remembers at most max messages, about
// 200 bytes each; zero means [DefaultMemoryKeys]. Beyond it the oldest are
// forgotten before their time. Messages that are being handled do not count.
// The error says that max is negative.
func NewMemory(max int) (*Memory, error) {
	if max < 0 {
		return nil, fmt.Errorf("delivery: max is %d, below zero", max)
	}
	if max == 0 {
		max = DefaultMemoryKeys
	}
	return &Memory{max: max, entries: map[string]*entry{}, done: list.New()}, nil
}

// Begin is part of [Deduplicator].
func (m *Memory) Begin(ctx context.Context, key string, lease time.Duration) (State, string, error) {
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.forget(now)
	if known := m.entries[key]; known != nil {
		switch {
		case !now.Before(known.until):
			m.remove(key, known)
		case known.place != nil:
			return Handled, "", nil
		default:
			return Running, "", nil
		}
	}
	begun := &entry{token: rand.Text(), until: now.Add(lease)}
	m.entries[key] = begun
	return Begun, begun.token, nil
}

// Done is part of [Deduplicator].
func (m *Memory) Done(ctx context.Context, key, token string, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.entries[key]
	if known == nil || known.token != token {
		return ErrLeaseLost
	}
	known.until = time.Now().Add(keep)
	if known.place != nil {
		m.done.Remove(known.place)
	}
	known.place = m.done.PushBack(key)
	for m.done.Len() > m.max {
		m.removeOldest()
	}
	return nil
}

// Abort is part of [Deduplicator].
func (m *Memory) Abort(ctx context.Context, key, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.entries[key]; known != nil && known.token == token && known.place == nil {
		m.remove(key, known)
	}
	return nil
}

// Len returns how many messages are remembered or being handled.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// forget removes those whose time has passed, from the oldest up to the first
// whose has not.
func (m *Memory) forget(now time.Time) {
	for oldest := m.done.Front(); oldest != nil; oldest = m.done.Front() {
		if now.Before(m.entries[oldest.Value.(string)].until) {
			return
		}
		m.removeOldest()
	}
}

func (m *Memory) removeOldest() {
	key := m.done.Front().Value.(string)
	m.remove(key, m.entries[key])
}

func (m *Memory) remove(key string, known *entry) {
	if known.place != nil {
		m.done.Remove(known.place)
	}
	delete(m.entries, key)
}
