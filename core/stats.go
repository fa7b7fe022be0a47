package core

import "time"

// Stats describes the messages that a client holds in memory.
type Stats struct {
	// Queued is the number of messages in memory, whether they wait or are
	// being posted, including messages that a request holds. With Durable they
	// are also in the outbox.
	Queued int
	// QueuedBytes is the size of their payloads in bytes.
	QueuedBytes int
	// MaxQueued and MaxQueuedBytes are the limits of Queued and QueuedBytes.
	// Messages beyond them go to the outbox.
	MaxQueued, MaxQueuedBytes int
	// AtRisk is the number of messages that a crash would lose now: messages in
	// memory that are not in the outbox. AtRiskFor is the age of the oldest of
	// them, except for messages that a request holds; zero if there is none. It
	// stays below Batching.MaxAge while the outbox works.
	AtRisk    int
	AtRiskFor time.Duration
	// Breaker is the state of the circuit breaker of the server.
	Breaker BreakerState
	// OutboxBreaker is the state of the circuit breaker of the outbox; empty
	// without an outbox. It opens after 3 consecutive calls to the outbox have
	// timed out; then one call per second probes the outbox. While it is
	// open, messages of [Durable] are posted within the call. Messages that the
	// server does not accept either are refused at once with ErrNotAccepted or,
	// with [Memory], stay in memory. Messages with WithDedupKey are also
	// refused, because they must be stored first.
	OutboxBreaker BreakerState
}

// outboxBreaker returns the state of the circuit breaker of the outbox, empty
// without an outbox.
func (c *Client) outboxBreaker() BreakerState {
	if c.outbox == nil {
		return ""
	}
	return BreakerState(c.outbox.State())
}

// Stats returns statistics about the messages in memory. It queries neither the
// server nor the outbox and is cheap. For messages in the outbox use
// [Outbox.Stats]. Under load the numbers are approximate.
func (c *Client) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	messages, bytes := c.queue.Held()
	atRisk, age, _ := c.queue.AtRisk()
	return Stats{
		Queued: messages, QueuedBytes: bytes,
		AtRisk: atRisk, AtRiskFor: age,
		MaxQueued: c.cfg.batching.MaxMessages, MaxQueuedBytes: c.cfg.batching.MaxBytes,
		Breaker: BreakerState(c.office.State()), OutboxBreaker: c.outboxBreaker(),
	}
}
