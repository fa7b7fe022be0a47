package core

import (
	"cmp"
	"time"
)

// Defaults of Batching.
const (
	// DefaultBatchBytes is how many bytes of payloads make a batch full.
	DefaultBatchBytes = 1_000_000
	// DefaultBatchDelay is how long a message waits for others at most.
	DefaultBatchDelay = 20 * time.Millisecond
	// DefaultBatchesInFlight is how many batches are posted at a time.
	DefaultBatchesInFlight = 4
	// DefaultMaxMessages is how many messages are held in memory.
	DefaultMaxMessages = 100_000
	// DefaultMaxBytes is how many bytes of payloads are held in memory.
	DefaultMaxBytes = 64_000_000
	// MaxBatchDelay is the longest Delay.
	MaxBatchDelay = 10 * time.Second
	// DefaultMaxAge is how long a message is only in memory at most.
	DefaultMaxAge = 250 * time.Millisecond
)

// Batching says how messages that are posted after the response are put
// together. Messages of different requests share a batch if they have the
// topic, the attributes and the time of delivery in common: an attribute
// with a different value for every request, such as a request id, leaves
// every message with a batch of its own.
//
// The zero Batching is right for most apps. Larger batches and longer delays
// cost the server less, and have messages arrive later; with Memory, more of
// them are lost when the process crashes.
type Batching struct {
	// Payloads is how many messages make a batch full; at most 3000.
	// Defaults to Config.BulkLimit.
	Payloads int

	// Bytes is how many bytes of payloads make a batch full. A request never
	// has more than 7,000,000 of them: a batch that the last message has made
	// larger is posted in two. Defaults to 1,000,000.
	Bytes int

	// Delay is how long a message waits for others to share a batch with, at
	// most 10 s. Defaults to 20 ms.
	Delay time.Duration

	// InFlight is how many batches are posted at the same time. Defaults
	// to 4.
	InFlight int

	// MaxMessages and MaxBytes bound what is held in memory: messages and
	// bytes of payloads that wait or are being posted. What is beyond goes to
	// the outbox; without an outbox, Publish waits until there is room or its
	// context ends. Default to 100,000 and 64,000,000; MaxMessages is at most
	// 16,777,215.
	MaxMessages int
	MaxBytes    int

	// MaxAge is how long a message of Memory is only in memory at most, where
	// there is an outbox. After half of it, messages that the server has not
	// taken yet are committed to the outbox and go on to be posted from memory.
	// Publish waits while more messages are in memory alone than the outbox can
	// commit in the other half, going by the commits before. While the outbox
	// cannot be used messages get older; [Client.Stats] and [Client.Ready] tell.
	// A request holds messages for FlushOn without an age. Delay may be half of
	// MaxAge at most. Defaults to 250 ms.
	MaxAge time.Duration
}

// resolve checks the fields and fills in their defaults. MaxAge has no effect
// without an outbox.
func (b Batching) resolve(bulkLimit int, hasOutbox bool, bad *faults) Batching {
	for _, field := range []struct {
		name  string
		value int
	}{
		{"Payloads", b.Payloads}, {"Bytes", b.Bytes}, {"InFlight", b.InFlight}, {"MaxMessages", b.MaxMessages}, {"MaxBytes", b.MaxBytes},
	} {
		if field.value < 0 {
			bad.add(fieldError("Batching."+field.name, "is negative"))
		}
	}
	if b.Payloads > MaxBulkLimit {
		bad.add(fieldError("Batching.Payloads", "is %d; the server takes at most %d", b.Payloads, MaxBulkLimit))
	}
	if b.MaxMessages > maxUsageMessages {
		bad.add(fieldError("Batching.MaxMessages", "is %d; the most is %d", b.MaxMessages, maxUsageMessages))
	}
	bad.add(checkNotNegative("Batching.Delay", b.Delay))
	if b.Delay > MaxBatchDelay {
		bad.add(fieldError("Batching.Delay", "is %v; the most is %v", b.Delay, MaxBatchDelay))
	}
	bad.add(checkNotNegative("Batching.MaxAge", b.MaxAge))
	maxAge := cmp.Or(b.MaxAge, DefaultMaxAge)
	if delay := cmp.Or(b.Delay, DefaultBatchDelay); hasOutbox && maxAge > 0 && delay > maxAge/2 {
		bad.add(fieldError("Batching.Delay", "is %v, more than half of Batching.MaxAge, %v", delay, maxAge))
	}
	return Batching{
		Payloads:    cmp.Or(b.Payloads, bulkLimit),
		Bytes:       min(cmp.Or(b.Bytes, DefaultBatchBytes), bulkBytes),
		Delay:       cmp.Or(b.Delay, DefaultBatchDelay),
		InFlight:    cmp.Or(b.InFlight, DefaultBatchesInFlight),
		MaxMessages: cmp.Or(b.MaxMessages, DefaultMaxMessages),
		MaxBytes:    cmp.Or(b.MaxBytes, DefaultMaxBytes),
		MaxAge:      maxAge,
	}
}
