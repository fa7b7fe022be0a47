package queue

import (
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// Limits of the allowance.
const (
	// firstMessages and firstBytes are the allowance before the first commit.
	firstMessages = 1000
	firstBytes    = 1_000_000
	// sampleAge is how often a commit is measured while callers wait, even if
	// no message is old enough to be committed.
	sampleAge = 5 * time.Second
)

// allowance is the amount that the outbox can commit within a window, estimated
// from earlier commits. The zero allowance admits nothing.
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

// learn updates the allowance with the duration of a commit.
func (a *allowance) learn(messages, bytes int, took time.Duration) {
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
			// A small commit says little about a large one, because every
			// commit has a fixed cost.
			now = (now + possible) / 2
		}
		known.Store(max(now, 1))
	}
	learn(&a.messages, messages)
	learn(&a.bytes, bytes)
}

// commit returns the bounds of one commit: the amount that takes half of the
// window. Smaller commits free capacity earlier for waiting callers, and the
// messages of a commit may already have waited for the previous one.
func (a *allowance) commit() (messages, bytes int) {
	return min(int(a.messages.Load()/2), commitMessages), min(int(a.bytes.Load()/2), commitBytes)
}

// limits returns the bounds of memory. With an outbox, the allowance bounds the
// messages that are only in memory.
func (q *Queue) limits() (messages, bytes int) {
	messages, bytes = q.config.MaxMessages, q.config.MaxBytes
	if q.config.Outbox == nil {
		return messages, bytes
	}
	safeMessages, safeBytes := q.safe.load()
	return min(messages, safeMessages+int(q.allowance.messages.Load())), min(bytes, safeBytes+int(q.allowance.bytes.Load()))
}

// reserveExposed reserves capacity for messages that will be only in memory. A
// message larger than the bounds is admitted when nothing else is exposed.
func (q *Queue) reserveExposed(messages, bytes int) bool {
	maxMessages, maxBytes := q.limits()
	if q.used.add(messages, bytes, maxMessages, maxBytes) {
		return true
	}
	if exposed, _ := q.exposed(); exposed == 0 {
		return q.used.add(messages, bytes, q.config.MaxMessages, q.config.MaxBytes)
	}
	return false
}

// exposed returns the messages that are only in memory, including reserved
// capacity.
func (q *Queue) exposed() (messages, bytes int) {
	safeMessages, safeBytes := q.safe.load()
	usedMessages, usedBytes := q.used.load()
	return max(usedMessages-safeMessages, 0), max(usedBytes-safeBytes, 0)
}

// Reserve reserves capacity for messages that will be only in memory. If there
// is no capacity, it returns a channel that is closed when capacity may be
// available.
func (q *Queue) Reserve(b *message.Batch) (ok bool, capacity <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reserveExposed(len(b.Messages), b.PayloadBytes()) {
		return true, nil
	}
	q.ager.press()
	return false, q.freed
}

// IsFull reports whether memory has no capacity for messages, regardless of the
// allowance.
func (q *Queue) IsFull(b *message.Batch) bool {
	messages, bytes := q.used.load()
	return messages+len(b.Messages) > q.config.MaxMessages || bytes+b.PayloadBytes() > q.config.MaxBytes
}

// ReserveSafe reserves capacity for messages that a crash does not lose:
// committed messages, and messages that a request holds, which are not accepted
// yet.
func (q *Queue) ReserveSafe(b *message.Batch) bool {
	messages, bytes := len(b.Messages), b.PayloadBytes()
	if !q.used.add(messages, bytes, q.config.MaxMessages, q.config.MaxBytes) {
		return false
	}
	q.safe.count(messages, bytes)
	return true
}

// Expose marks messages of ReserveSafe as being only in memory.
func (q *Queue) Expose(b *message.Batch) { q.safe.remove(len(b.Messages), b.PayloadBytes()) }

// ReleaseSafe releases the capacity of ReserveSafe.
func (q *Queue) ReleaseSafe(b *message.Batch) {
	q.Expose(b)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(len(b.Messages), b.PayloadBytes())
}

// release releases capacity. The mutex must be held.
func (q *Queue) release(messages, bytes int) {
	q.used.remove(messages, bytes)
	q.announce()
}

// announce wakes the callers that wait for capacity. The mutex must be held.
func (q *Queue) announce() {
	close(q.freed)
	q.freed = make(chan struct{})
}

// Held returns the messages and bytes in memory, without the capacity that
// shards have reserved in advance.
func (q *Queue) Held() (messages, bytes int) {
	for i := range q.shards {
		s := &q.shards[i]
		s.mu.Lock()
		messages -= s.spareMessages
		bytes -= s.spareBytes
		s.mu.Unlock()
	}
	usedMessages, usedBytes := q.used.load()
	return max(messages+usedMessages, 0), max(bytes+usedBytes, 0)
}

// AtRisk returns the number of messages that are only in memory, the age of the
// oldest, and the error of the last commit, if it failed.
func (q *Queue) AtRisk() (messages int, age time.Duration, err error) {
	held, _ := q.Held()
	safe, _ := q.safe.load()
	messages = max(held-safe, 0)
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := q.aging.Front()
	if oldest == nil {
		return messages, 0, q.ager.err
	}
	return messages, time.Since(oldest.Value.(*entry).opened), q.ager.err
}
