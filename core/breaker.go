package core

import "github.com/postoffice-go/postoffice/core/internal/circuit"

// BreakerState is the state of the circuit breaker in front of the server. The
// breaker opens after 5 consecutive failures, or when half of at least 20
// requests within 10 s failed. Network errors, timeouts, 429 and 5xx count as
// failures. After 1 s, one request probes the server.
//
// Messages that the server cannot process do not open the breaker. After 4
// consecutive failures that may be caused by the messages (5xx, a timeout or a
// broken connection), the client sends an empty bulk request to check the
// server. If it succeeds, the count of consecutive failures restarts. Among
// such failures only timeouts count toward the failed half. This protection
// ends when 1,000 messages have failed for the first time and the server has
// accepted none in between.
//
// The circuit breaker of the outbox has the same states, see
// Stats.OutboxBreaker.
type BreakerState string

// States of the circuit breaker.
const (
	// BreakerClosed lets all requests pass.
	BreakerClosed BreakerState = BreakerState(circuit.Closed)
	// BreakerHalfOpen lets one request pass, which probes the server.
	BreakerHalfOpen BreakerState = BreakerState(circuit.HalfOpen)
	// BreakerOpen blocks all requests: messages go to the outbox at once.
	BreakerOpen BreakerState = BreakerState(circuit.Open)
)
