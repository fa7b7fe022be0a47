package core

import (
	"context"
	"time"
)

// Observer watches what a client does with messages. Each function may be
// nil; the zero Observer watches nothing and costs nothing. The functions
// are called on the paths that deliver messages, from several goroutines at
// once: they must be quick and safe for concurrent use, and must not publish with
// the same client. A panic of Publish, Published or Origin is one of the call;
// a panic of another function is logged and has no other effect, since it says
// nothing about the messages. [JoinObservers] makes one of several.
//
// What a client holds can be asked for: see [Client.Stats] for the memory
// and [Outbox.Stats] for the outbox. What a person should know of is logged to
// Config.Logger without an Observer, too: the same thing about the same topic
// once in 10 s, with the number of lines left out.
type Observer struct {
	// Published is called when a call to Publish, PublishBulk or PublishTx
	// has accepted messages; Event.State says where they are. Those of
	// PublishTx vanish when the transaction is rolled back.
	Published func(Event)
	// Delivered is called when the server has taken messages, once for each
	// request; Event.Attempts and Event.Age tell what it took.
	Delivered func(Event)
	// Stored is called when messages were committed to the outbox instead of
	// being delivered; Err says why. Those that were to be stored anyway,
	// with Durable, WithDedupKey or PublishTx, are told to Published alone.
	Stored func(Event)
	// Spilled is called after Stored, for those of its messages that were
	// not sent at all: the circuit breaker is open, memory is full, or there
	// was no time left.
	Spilled func(Event)
	// Failed is called when messages were sent and not delivered, and are
	// not dead; Err says why and Class of what kind it is. Those from the
	// outbox and those in memory are tried again, those of a call are stored
	// or, without an outbox, refused to the caller.
	Failed func(Event)
	// Dead is called when the server refused messages for good: they stay in
	// the outbox until a person retries or discards them. Messages in memory
	// are dropped, if there is no outbox.
	Dead func(Event)
	// NoConsumer is called when the server took messages of a topic that
	// nobody consumes: it has thrown them away.
	NoConsumer func(Event)
	// Discarded is called when the messages of a request were dropped because
	// Options.FlushOn said so, or when messages were discarded from the
	// outbox.
	Discarded func(Event)
	// Listed is called when the server's rescuer has fetched the recovery
	// list, also when there was nothing on it: Event.Messages tells.
	Listed func(Event)
	// Recovered is called when the server's rescuer has fetched messages
	// through the recovery list and confirmed them.
	Recovered func(Event)
	// Breaker is called when the circuit breaker of the server changes its
	// state.
	Breaker func(BreakerState)
	// Setup is called with the outcome of each try to create a topic or a
	// consumer.
	Setup func(SetupResult)

	// Publish is called when a call to Publish, PublishBulk or PublishTx
	// begins, before its messages are checked. The context that it returns,
	// ctx or one made from it, is that of the rest of the call. The function
	// that it returns is called with the outcome; nil is allowed. It is for
	// traces.
	Publish func(ctx context.Context, call PublishCall) (context.Context, func(Receipt, error))
	// Origin tells where messages come from that are posted after their call
	// has returned: what it makes of the call's context, as returned by
	// Publish, is handed to Send with those messages. It must be comparable,
	// as pointers are; nil for none. The outbox does not keep it.
	Origin func(ctx context.Context) any
	// Send is called when a request with messages is sent to the server, as
	// Publish is for calls; an error may be followed by another try.
	Send func(ctx context.Context, call SendCall) (context.Context, func(error))
}

// PublishCall is a call that publishes.
type PublishCall struct {
	// Topic is the topic as the caller gave it; it may be invalid.
	Topic string
	// Messages is how many payloads the call has.
	Messages int
	// Bulk tells a call to PublishBulk.
	Bulk bool
}

// SendCall is a request that posts messages.
type SendCall struct {
	// Topic is the topic of the messages.
	Topic string
	// Messages is how many the request holds.
	Messages int
	// Origins is what Observer.Origin has told of the messages of the batch,
	// without repetitions in a row, at most 128. It must not be changed.
	Origins []any
}

// Event tells of messages of one topic with one fate. It never holds a
// payload or a credential.
type Event struct {
	// Topic is the topic of the messages; empty where it is not known.
	Topic string
	// Messages is how many there were.
	Messages int
	// FromOutbox tells that the relay or the rescuer had them; it is false for
	// what is posted within its call or from memory, with Durable, too.
	FromOutbox bool
	// Err is the reason of a failure; nil otherwise.
	Err error
	// State is where the messages are, in events of Published; Unknown
	// otherwise.
	State State
	// Class is the kind of the failure, in events of Failed and Dead.
	Class FailureClass
	// Attempts is how often the messages were tried, the last one included,
	// in events of Delivered: the most of any message of the request. Attempts
	// before a message was stored count, too.
	Attempts int
	// Age is how long they waited, in events of Delivered:
	// that of the oldest message of the request since it was accepted or,
	// from the outbox, since it was stored by the clock of the store.
	Age time.Duration
}

// FailureClass says what helps against a failure.
type FailureClass string

// Classes of failures.
const (
	// FailureTransient passes by itself: network, timeout, 408, 429, 5xx.
	FailureTransient FailureClass = "transient"
	// FailureConfig needs a change of the configuration, here, at the server
	// or at a proxy: an unknown topic, 401, 403, 404.
	FailureConfig FailureClass = "config"
	// FailurePermanent comes back whenever the message is sent: other 400,
	// and 413 for a single message.
	FailurePermanent FailureClass = "permanent"
)

// emit calls one function of an Observer, if it is set.
func emit(call func(Event), event Event) {
	if call != nil {
		call(event)
	}
}

// watchesCalls tells whether calls that publish are of interest.
func (o *Observer) watchesCalls() bool { return o.Publish != nil || o.Published != nil }
