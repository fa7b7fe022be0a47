package core

import "sync"

// Status is how a client is at a moment, for pages and health checks of an
// app. Nothing is sent to learn it.
type Status struct {
	// Breaker is the state of the circuit breaker in front of the server.
	Breaker BreakerState
	// Setup holds the latest outcome of each configured topic and consumer,
	// in the order of the Config, whether Start, Setup or the background has
	// tried it. Those that were not tried yet are missing.
	Setup SetupReport
	// Untried counts the configured topics and consumers that were not tried
	// yet.
	Untried int
}

// Status tells how the client is. It works before Start and after Stop.
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
	status := Status{Breaker: c.transport.breaker.state()}
	status.Setup = SetupReport{Topics: c.outcomes.of(topics), Consumers: c.outcomes.of(consumers)}
	status.Untried = len(topics) + len(consumers) - len(status.Setup.Topics) - len(status.Setup.Consumers)
	return status
}

// resultOf names a consumer in a report.
func resultOf(consumer Consumer) SetupResult {
	return SetupResult{Topic: consumer.Topic, Target: redactTarget(consumer.Target), Type: consumer.Type}
}

// outcomes remembers the latest outcome of each topic and consumer.
type outcomes struct {
	mu     sync.Mutex
	latest map[outcomeKey]SetupResult
}

// outcomeKey names a topic or consumer.
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

// of returns what is known of the named ones, in their order.
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
