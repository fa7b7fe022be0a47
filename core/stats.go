package core

import "time"

// Stats is what a client holds in memory.
type Stats struct {
	// Queued is how many messages wait in memory or are being posted from
	// there, those that a request holds back included. With Durable they are
	// in the outbox, too.
	Queued int
	// QueuedBytes is the sum of the bytes of their payloads.
	QueuedBytes int
	// MaxQueued and MaxQueuedBytes are the bounds of both: what is beyond
	// spills to the outbox.
	MaxQueued, MaxQueuedBytes int
	// AtRisk is how many messages a crash would lose now: those in memory that
	// are not in the outbox too. AtRiskFor is the age of the oldest of them, that
	// no request holds; zero for none. With an outbox that can be used it stays
	// below Batching.MaxAge.
	AtRisk    int
	AtRiskFor time.Duration
	// Breaker is the state of the circuit breaker.
	Breaker BreakerState
}

// Stats tells what the client holds in memory. It asks neither the server
// nor the outbox, and may be called as often as one likes; for what the
// outbox holds there is [Outbox.Stats]. While messages come and go the
// numbers are close, not exact.
func (c *Client) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	messages, bytes := c.batcher.held()
	atRisk, age, _ := c.batcher.atRisk()
	return Stats{
		Queued: messages, QueuedBytes: bytes,
		AtRisk: atRisk, AtRiskFor: age,
		MaxQueued: c.cfg.batching.MaxMessages, MaxQueuedBytes: c.cfg.batching.MaxBytes,
		Breaker: c.transport.breaker.state(),
	}
}

// held counts what is in memory, without the room that lanes have reserved
// for messages to come.
func (b *batcher) held() (messages, bytes int) {
	for i := range b.lanes {
		l := &b.lanes[i]
		l.mu.Lock()
		messages -= l.spareMessages
		bytes -= l.spareBytes
		l.mu.Unlock()
	}
	usedMessages, usedBytes := b.used.load()
	return max(messages+usedMessages, 0), max(bytes+usedBytes, 0)
}
