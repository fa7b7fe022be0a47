package core

// Observer watches what a client does with messages. Each function may be
// nil; the zero Observer watches nothing and costs nothing. The functions
// are called on the paths that deliver messages, from several goroutines at
// once: they must be quick and safe for concurrent use.
type Observer struct {
	// Delivered is called when the server has taken messages.
	Delivered func(Event)
	// Stored is called when messages were committed to the outbox instead of
	// being delivered; Err says why.
	Stored func(Event)
	// Failed is called when messages from the outbox could not be delivered
	// and will be tried again; Err says why.
	Failed func(Event)
	// Dead is called when the server refused messages for good: they stay in
	// the outbox until a person retries or discards them.
	Dead func(Event)
	// NoConsumer is called when the server took messages of a topic that
	// nobody consumes: it has thrown them away.
	NoConsumer func(Event)
	// Discarded is called when the messages of a request were dropped because
	// Options.FlushOn said so, or when messages were discarded from the
	// outbox.
	Discarded func(Event)
	// Recovered is called when the server's rescuer has fetched messages
	// through the recovery list and confirmed them.
	Recovered func(Event)
	// Breaker is called when the circuit breaker of the server changes its
	// state.
	Breaker func(BreakerState)
}

// Event tells of messages of one topic with one fate.
type Event struct {
	// Topic is the topic of the messages; empty where it is not known.
	Topic string
	// Messages is how many there were.
	Messages int
	// FromOutbox tells that they came from the outbox rather than from the
	// call that published them.
	FromOutbox bool
	// Err is the reason of a failure; nil otherwise.
	Err error
}

// emit calls one function of an Observer, if it is set.
func emit(call func(Event), event Event) {
	if call != nil {
		call(event)
	}
}
