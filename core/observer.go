package core

import (
	"context"
	"time"
)

// Observer receives the events of a client. Each function may be nil; the zero
// Observer has no cost. The functions run on the paths that deliver messages,
// concurrently in several goroutines: they must be fast and safe for concurrent
// use, and must not publish with the same client. A panic of Publish, Published
// or Origin reaches the caller. A panic of another function is logged and has
// no other effect, because it says nothing about the messages. [JoinObservers]
// combines several Observers.
//
// To query the messages of a client, use [Client.Stats] for memory and
// [Outbox.Stats] for the outbox. Without an Observer, important events are
// still logged to Config.Logger: the same event of the same topic once in 10 s.
// The number of messages in such a line ("messages") then includes those of all
// events since the last line. Lines about failed attempts, which repeat with the
// same messages, and lines without messages have the number of lines that were
// left out ("omitted") instead.
type Observer struct {
	// Published is called when a call to Publish, PublishBulk or PublishTx has
	// accepted messages, and when messages that were held for Options.FlushOn
	// are accepted. Event.State says where they are. Messages of PublishTx
	// vanish if the transaction is rolled back.
	Published func(Event)
	// Delivered is called for each request whose messages the server accepted.
	// Event.Attempts is the number of attempts, and Event.Age the time since
	// the messages were accepted.
	Delivered func(Event)
	// Stored is called when messages were committed to the outbox because they
	// could not be delivered. Err is the reason. Messages that are stored in
	// any case, with Durable, WithDedupKey or PublishTx, are only reported to
	// Published.
	Stored func(Event)
	// Spilled is called after Stored for the messages that were not sent at
	// all, because the circuit breaker is open, memory is full, or no time was
	// left.
	Spilled func(Event)
	// Failed is called when messages were sent but not delivered, and are not
	// dead. Err is the reason and Class its kind. Messages from the outbox and
	// from memory are retried. Messages of a call are stored or, without an
	// outbox, refused with an error.
	Failed func(Event)
	// Dead is called when the server refused messages permanently. They stay in
	// the outbox until a person retries or discards them. Without an outbox,
	// messages in memory are dropped.
	Dead func(Event)
	// NoConsumer is called when the server accepted messages of a topic without
	// consumers and discarded them.
	NoConsumer func(Event)
	// Discarded is called when messages that were held for Options.FlushOn are
	// dropped, and when messages are discarded from the outbox. Err is nil if
	// FlushOn decided to drop them, otherwise the reason why they were not
	// accepted.
	Discarded func(Event)
	// Listed is called when the server's rescuer has fetched the recovery list,
	// even an empty one. Event.Messages is its length.
	Listed func(Event)
	// Recovered is called when the server's rescuer has fetched messages
	// through the recovery list and confirmed them.
	Recovered func(Event)
	// Breaker is called when the circuit breaker of the server changes its
	// state.
	Breaker func(BreakerState)
	// OutboxBreaker is called when the circuit breaker of the outbox changes
	// its state, see Stats.OutboxBreaker.
	OutboxBreaker func(BreakerState)
	// Setup is called with the outcome of each attempt to create a topic or a
	// consumer.
	Setup func(SetupResult)

	// Publish is called when a call to Publish, PublishBulk or PublishTx
	// begins, before its messages are checked. The rest of the call uses the
	// returned context, which must be ctx or derived from it. The returned
	// function is called with the outcome; it may be nil. It is for traces.
	Publish func(ctx context.Context, call PublishCall) (context.Context, func(Receipt, error))
	// Origin returns the origin of messages that are posted after their call
	// has returned, or in a request that calls share. Its argument is the
	// context of the call, as returned by Publish. Send receives the origin
	// with these messages. An origin must be comparable, such as a pointer; nil
	// means none. The outbox does not store origins.
	Origin func(ctx context.Context) any
	// Send is called when a request with messages is sent to the server. It
	// works like Publish does for calls. After an error the request may be
	// retried.
	Send func(ctx context.Context, call SendCall) (context.Context, func(error))
}

// PublishCall is a call that publishes.
type PublishCall struct {
	// Topic is the caller's topic; it may be invalid.
	Topic string
	// Messages is the number of payloads of the call.
	Messages int
	// Bulk reports that the call is PublishBulk.
	Bulk bool
}

// SendCall is a request that posts messages.
type SendCall struct {
	// Topic is the topic of the messages.
	Topic string
	// Messages is the number of messages in the request.
	Messages int
	// Origins are the results of Observer.Origin for the messages of the batch,
	// without consecutive duplicates, at most 128. The slice must not be
	// modified.
	Origins []any
}

// Event describes messages of one topic with the same outcome. It never
// contains a payload or a credential.
type Event struct {
	// Topic is the topic of the messages; empty if unknown.
	Topic string
	// Messages is the number of messages.
	Messages int
	// FromOutbox reports that the relay or the rescuer handled the messages. It
	// is false for messages posted within their call or from memory, also with
	// Durable.
	FromOutbox bool
	// Err is the reason of a failure; nil otherwise.
	Err error
	// State is where the messages are, in Published events; Unknown otherwise.
	State State
	// Class is the kind of failure, in Failed and Dead events.
	Class FailureClass
	// Attempts is the number of attempts, the last one included, in Delivered
	// events: the maximum of all messages of the request. Attempts before a
	// message was stored count, too.
	Attempts int
	// Age is the age of the oldest message of the request, in Delivered events:
	// the time since the message was accepted or, for a message from the
	// outbox, since it was stored, by the store's clock.
	Age time.Duration
}

// FailureClass groups failures by how they can be resolved.
type FailureClass string

// Classes of failures.
const (
	// FailureTransient failures resolve on their own: network, timeout, 408,
	// 429, 5xx.
	FailureTransient FailureClass = "transient"
	// FailureConfig failures need a change of the configuration of the client,
	// the server or a proxy: an unknown topic, 401, 403, 404.
	FailureConfig FailureClass = "config"
	// FailurePermanent failures recur whenever the message is sent: other 400,
	// and 413 for a single message.
	FailurePermanent FailureClass = "permanent"
)

// emit calls a function of an Observer, if it is set.
func emit(call func(Event), event Event) {
	if call != nil {
		call(event)
	}
}

// watchesCalls reports whether the observer watches calls that publish.
func (o *Observer) watchesCalls() bool { return o.Publish != nil || o.Published != nil }
