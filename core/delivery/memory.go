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

// Memory is a [LatestDeduplicator] in the memory of the process: it is not shared
// with other instances of the app and is lost when the process ends. It starts no
// goroutine. Create one with [NewMemory].
type Memory struct {
	max int

	mu      sync.Mutex
	entries map[memoryKey]*entry
	done    *list.List // keys of entries that are done, the oldest first
}

// memoryKey is the key of an entry.
type memoryKey struct {
	text string
	of   entryKind
}

// entryKind is what an entry is for.
type entryKind int

const (
	ofMessage  entryKind = iota // begun by Begin
	ofRunning                   // a version that is being handled
	ofVersions                  // the latest version that was handled
)

type entry struct {
	token   string
	version int64         // set by BeginLatest
	until   time.Time     // the end of the lease, or of the time to keep
	place   *list.Element // in done; nil while the message is being handled
}

var _ LatestDeduplicator = (*Memory)(nil)

// NewMemory returns a deduplicator that remembers at most max messages, about 200
// bytes each; zero means [DefaultMemoryKeys], and a negative number is an error.
// Beyond max, the oldest are forgotten before their time. Messages that are being
// handled do not count.
func NewMemory(max int) (*Memory, error) {
	if max < 0 {
		return nil, fmt.Errorf("delivery: max is %d, below zero", max)
	}
	if max == 0 {
		max = DefaultMemoryKeys
	}
	return &Memory{max: max, entries: map[memoryKey]*entry{}, done: list.New()}, nil
}

// Begin implements [Deduplicator].
func (m *Memory) Begin(ctx context.Context, key string, lease time.Duration) (State, string, error) {
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	state, begun := m.begin(memoryKey{key, ofMessage}, lease)
	if state != Begun {
		return state, "", nil
	}
	return Begun, begun.token, nil
}

// BeginLatest implements [LatestDeduplicator]. A handled version of a key and
// another one that is being handled count as two messages.
func (m *Memory) BeginLatest(ctx context.Context, key string, version int64, lease time.Duration) (State, string, error) {
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	latest := m.entries[memoryKey{key, ofVersions}]
	if latest != nil && time.Now().Before(latest.until) && latest.version >= version {
		return Handled, "", nil
	}
	state, begun := m.begin(memoryKey{key, ofRunning}, lease)
	if state != Begun {
		return state, "", nil
	}
	begun.version = version
	return Begun, begun.token, nil
}

// begin adds an entry unless there is one whose time has not ended.
func (m *Memory) begin(key memoryKey, lease time.Duration) (State, *entry) {
	now := time.Now()
	m.forget(now)
	if known := m.entries[key]; known != nil {
		switch {
		case !now.Before(known.until):
			m.remove(key)
		case known.place != nil:
			return Handled, nil
		default:
			return Running, nil
		}
	}
	begun := &entry{token: rand.Text(), until: now.Add(lease)}
	m.entries[key] = begun
	return Begun, begun
}

// find returns the entry of a token, or nil. A handled version keeps the token with
// which it was begun until another version is begun.
func (m *Memory) find(key, token string) (memoryKey, *entry) {
	for _, of := range []entryKind{ofMessage, ofRunning, ofVersions} {
		found := memoryKey{key, of}
		known := m.entries[found]
		switch {
		case known != nil && known.token == token:
			return found, known
		case known != nil && of == ofRunning:
			return found, nil
		}
	}
	return memoryKey{}, nil
}

// Done implements [Deduplicator].
func (m *Memory) Done(ctx context.Context, key, token string, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found, known := m.find(key, token)
	if known == nil {
		return ErrLeaseLost
	}
	m.remove(found)
	if found.of == ofRunning {
		found.of = ofVersions
		m.remove(found) // the previous version
	}
	known.until = time.Now().Add(keep)
	known.place = m.done.PushBack(found)
	m.entries[found] = known
	for m.done.Len() > m.max {
		m.removeOldest()
	}
	return nil
}

// Abort implements [Deduplicator].
func (m *Memory) Abort(ctx context.Context, key, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, known := m.find(key, token); known != nil && known.place == nil {
		m.remove(found)
	}
	return nil
}

// Len returns how many messages are remembered or being handled.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// forget removes entries whose time has ended, from the oldest to the first one
// whose time has not.
func (m *Memory) forget(now time.Time) {
	for oldest := m.done.Front(); oldest != nil; oldest = m.done.Front() {
		if now.Before(m.entries[oldest.Value.(memoryKey)].until) {
			return
		}
		m.removeOldest()
	}
}

func (m *Memory) removeOldest() { m.remove(m.done.Front().Value.(memoryKey)) }

// remove removes an entry if it exists.
func (m *Memory) remove(key memoryKey) {
	known := m.entries[key]
	if known == nil {
		return
	}
	if known.place != nil {
		m.done.Remove(known.place)
	}
	delete(m.entries, key)
}
