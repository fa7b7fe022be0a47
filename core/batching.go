package core

import (
	"cmp"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/queue"
)

// Defaults of Batching.
const (
	// DefaultBatchBytes is the number of payload bytes that makes a batch full.
	DefaultBatchBytes = 1_000_000
	// DefaultBatchDelay is the maximum time that a message waits for others.
	DefaultBatchDelay = 20 * time.Millisecond
	// DefaultBatchesInFlight is the number of batches posted at the same time.
	DefaultBatchesInFlight = 4
	// DefaultMaxMessages is the maximum number of messages in memory.
	DefaultMaxMessages = 100_000
	// DefaultMaxBytes is the maximum number of payload bytes in memory.
	DefaultMaxBytes = 64_000_000
	// MaxBatchDelay is the maximum of Delay.
	MaxBatchDelay = 10 * time.Second
	// DefaultMaxAge is the maximum time that a message is only in memory.
	DefaultMaxAge = 250 * time.Millisecond
)

// Batching configures how messages that are posted after the response are
// grouped into batches. Messages of different requests share a batch if they
// have the same topic, attributes and delivery time. An attribute with a
// different value in every request, such as a request id, puts each message
// into a separate batch.
//
// The zero Batching suits most apps. Larger batches and longer delays reduce
// the load on the server, but messages arrive later. With Memory, they also
// increase the number of messages that a crash of the process loses.
type Batching struct {
	// Payloads is the number of messages that makes a batch full, at most 3000.
	// Defaults to Config.BulkLimit.
	Payloads int

	// Bytes is the number of payload bytes that makes a batch full. A request
	// never carries more than 7,000,000 bytes: if the last message makes a
	// batch larger, the batch is posted in two requests. Defaults to 1,000,000.
	Bytes int

	// Delay is how long a message waits for others to share its batch, at most
	// 10 s. Defaults to 20 ms.
	Delay time.Duration

	// InFlight is the number of batches posted at the same time. Defaults to 4.
	InFlight int

	// MaxMessages and MaxBytes bound the messages and payload bytes in memory,
	// whether they wait or are being posted. Messages beyond these bounds go to
	// the outbox. Without an outbox, Publish waits until there is capacity or
	// its context ends. Default to 100,000 and 64,000,000; MaxMessages is at
	// most 16,777,215.
	MaxMessages int
	MaxBytes    int

	// MaxAge is the maximum time that a message of Memory is only in memory,
	// if there is an outbox. After half of MaxAge, messages that the server has
	// not accepted are committed to the outbox, and are still posted from
	// memory. Publish waits while more messages are only in memory than the
	// outbox can commit in the other half, estimated from earlier commits.
	// While the outbox fails, messages exceed MaxAge; [Client.Stats] and
	// [Client.Ready] report this. MaxAge does not apply to messages that a
	// request holds for FlushOn. Delay is at most half of MaxAge. Defaults to
	// 250 ms.
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
		bad.add(fieldError("Batching.Payloads", "is %d; the server accepts at most %d", b.Payloads, MaxBulkLimit))
	}
	if b.MaxMessages > queue.MaxMessages {
		bad.add(fieldError("Batching.MaxMessages", "is %d; the maximum is %d", b.MaxMessages, queue.MaxMessages))
	}
	bad.add(checkNotNegative("Batching.Delay", b.Delay))
	if b.Delay > MaxBatchDelay {
		bad.add(fieldError("Batching.Delay", "is %v; the maximum is %v", b.Delay, MaxBatchDelay))
	}
	bad.add(checkNotNegative("Batching.MaxAge", b.MaxAge))
	maxAge := cmp.Or(b.MaxAge, DefaultMaxAge)
	if delay := cmp.Or(b.Delay, DefaultBatchDelay); hasOutbox && maxAge > 0 && delay > maxAge/2 {
		bad.add(fieldError("Batching.Delay", "is %v; the maximum is half of Batching.MaxAge, which is %v", delay, maxAge))
	}
	return Batching{
		Payloads:    cmp.Or(b.Payloads, bulkLimit),
		Bytes:       min(cmp.Or(b.Bytes, DefaultBatchBytes), deliver.MaxBytes),
		Delay:       cmp.Or(b.Delay, DefaultBatchDelay),
		InFlight:    cmp.Or(b.InFlight, DefaultBatchesInFlight),
		MaxMessages: cmp.Or(b.MaxMessages, DefaultMaxMessages),
		MaxBytes:    cmp.Or(b.MaxBytes, DefaultMaxBytes),
		MaxAge:      maxAge,
	}
}
