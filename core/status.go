package core

import "sync"

// Status is a snapshot of a client's state, for an app's pages and health
// checks. Getting it sends no request.
type Status struct {
	// Breaker is the state of the circuit breaker in front of the server.
	Breaker BreakerState
	// OutboxBreaker is the state of the circuit breaker of the outbox, see
	// Stats.OutboxBreaker; empty without an outbox.
	OutboxBreaker BreakerState
	// Setup has the latest outcome of each configured topic and consumer, in
	// the order of the Config, from Start, Setup or a retry in the background.
	// Topics and consumers that have not been attempted yet are missing.
	Setup SetupReport
	// Untried is the number of configured topics and consumers that have not
	// been attempted yet.
	Untried int
}

// Status returns the state of the client. It works before Start and after Stop.
func (c *Client) Status() Status {
	if c == nil {
		return Status{}
	}
	var topics, consumers []SetupResult
	for _, topic := range c.cfg.topics {
		topics = append(topics, SetupResult{Topic: topic})
	}
	for _, consumer := range c.cfg.consumers {
		consumers = append(consumers, resultOf(consumer))
	}
	status := Status{Breaker: BreakerState(c.office.State()), OutboxBreaker: c.outboxBreaker()}
	status.Setup = SetupReport{Topics: c.setup.outcomes.of(topics), Consumers: c.setup.outcomes.of(consumers)}
	status.Untried = len(topics) + len(consumers) - len(status.Setup.Topics) - len(status.Setup.Consumers)
	return status
}

// resultOf returns a result that identifies a consumer.
func resultOf(consumer Consumer) SetupResult {
	return SetupResult{Topic: consumer.Topic, Target: redactTarget(consumer.Target), Type: consumer.Type}
}

// outcomes remembers the latest outcome of each topic and consumer.
type outcomes struct {
	mu     sync.Mutex
	latest map[outcomeKey]SetupResult
}

// outcomeKey identifies a topic or consumer.
type outcomeKey struct {
	topic, target string
	kind          ConsumerType
}

func keyOf(r SetupResult) outcomeKey { return outcomeKey{r.Topic, r.Target, r.Type} }

// note remembers an outcome.
func (o *outcomes) note(result SetupResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest == nil {
		o.latest = map[outcomeKey]SetupResult{}
	}
	o.latest[keyOf(result)] = result
}

// of returns the known outcomes of the given topics and consumers, in the same
// order.
func (o *outcomes) of(named []SetupResult) []SetupResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	var known []SetupResult
	for _, name := range named {
		if result, ok := o.latest[keyOf(name)]; ok {
			known = append(known, result)
		}
	}
	return known
}
