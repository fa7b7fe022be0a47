package core

import (
	"sync/atomic"
	"time"
)

// Figures of the allowance.
const (
	// firstMessages and firstBytes are the allowance before the first commit.
	firstMessages = 1000
	firstBytes    = 1_000_000
	// sampleAge is how often a commit is measured although no message is old
	// enough for one, while callers wait.
	sampleAge = 5 * time.Second
)

// allowance is how much the outbox is expected to commit within a window. It is
// learned from the commits. The zero allowance lets nothing through.
type allowance struct {
	window          time.Duration
	messages, bytes atomic.Int64
}

func newAllowance(window time.Duration) *allowance {
	a := &allowance{window: window}
	a.messages.Store(firstMessages)
	a.bytes.Store(firstBytes)
	return a
}

// learn takes the time of a commit into account.
func (a *allowance) learn(l load, took time.Duration) {
	slow := took > a.window
	learn := func(known *atomic.Int64, amount int) {
		now := known.Load()
		possible := int64(min(float64(amount)*float64(a.window)/float64(max(took, 1)), 1<<30))
		switch {
		case possible > now:
			now = min(possible, 4*now)
		case slow:
			now = possible
		case int64(amount)*4 > now:
			// A commit of little tells little about one of much, because each
			// takes some time whatever its size.
			now = (now + possible) / 2
		}
		known.Store(max(now, 1))
	}
	learn(&a.messages, l.messages)
	learn(&a.bytes, l.bytes)
}

// most returns the bounds of what is held. With an outbox, what is in memory
// alone is bounded by the allowance.
func (b *batcher) most() (messages, bytes int) {
	messages, bytes = b.batching.MaxMessages, b.batching.MaxBytes
	if b.client.cfg.outbox == nil {
		return messages, bytes
	}
	safeMessages, safeBytes := b.safe.load()
	return min(messages, safeMessages+int(b.allowance.messages.Load())), min(bytes, safeBytes+int(b.allowance.bytes.Load()))
}

// reserveExposed makes room for messages that will be in memory alone. What
// exceeds the bounds by itself is admitted when nothing else is exposed.
func (b *batcher) reserveExposed(messages, bytes int) bool {
	mostMessages, mostBytes := b.most()
	if b.used.add(messages, bytes, mostMessages, mostBytes) {
		return true
	}
	if exposed, _ := b.exposed(); exposed == 0 {
		return b.used.add(messages, bytes, b.batching.MaxMessages, b.batching.MaxBytes)
	}
	return false
}

// exposed counts what is in memory alone, room that is reserved included.
func (b *batcher) exposed() (messages, bytes int) {
	safeMessages, safeBytes := b.safe.load()
	usedMessages, usedBytes := b.used.load()
	return max(usedMessages-safeMessages, 0), max(usedBytes-safeBytes, 0)
}

// reserve makes room for messages that will be in memory alone. Without room it
// returns a channel that is closed when there may be some.
func (b *batcher) reserve(m batch) (ok bool, room <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reserveExposed(len(m.payloads), sizeOf(m)) {
		return true, nil
	}
	b.ager.press()
	return false, b.room
}

// isFull tells whether memory itself has no room for messages, whatever the
// allowance is.
func (b *batcher) isFull(m batch) bool {
	messages, bytes := b.used.load()
	return messages+len(m.payloads) > b.batching.MaxMessages || bytes+sizeOf(m) > b.batching.MaxBytes
}

// reserveSafe makes room for messages that a crash does not lose: those that
// are committed too, and those that a request holds, which promise nothing yet.
func (b *batcher) reserveSafe(m batch) bool {
	messages, bytes := len(m.payloads), sizeOf(m)
	if !b.used.add(messages, bytes, b.batching.MaxMessages, b.batching.MaxBytes) {
		return false
	}
	b.safe.count(messages, bytes)
	return true
}

// expose marks messages of reserveSafe as being in memory alone.
func (b *batcher) expose(m batch) { b.safe.remove(len(m.payloads), sizeOf(m)) }

// releaseSafe gives back the room of reserveSafe.
func (b *batcher) releaseSafe(m batch) {
	b.expose(m)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(len(m.payloads), sizeOf(m))
}

// releaseLocked gives back room.
func (b *batcher) releaseLocked(messages, bytes int) {
	b.used.remove(messages, bytes)
	b.announceRoom()
}

// announceRoom wakes those who wait for room.
func (b *batcher) announceRoom() {
	close(b.room)
	b.room = make(chan struct{})
}
