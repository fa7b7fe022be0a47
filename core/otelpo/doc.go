// Package otelpo provides OpenTelemetry metrics and traces of a client, and of the
// messages that an app receives.
//
//	observer := otelpo.Observer()                  // the global providers
//	client, err := core.NewClient(core.Config{Observer: observer, ...})
//	...
//	stop, err := otelpo.Gauges(client)             // what waits, and how long
//	...
//	defer stop()
//
// To use an Observer of your own as well, join both:
// core.JoinObservers(otelpo.Observer(), own).
//
// For messages received by a handler or an inbox of package delivery:
//
//	handler := delivery.Handler(bill, delivery.WithObserver(otelpo.DeliveryObserver()))
//	inbox, err := delivery.NewInbox(store, delivery.InboxOptions{Observer: otelpo.DeliveryObserver()})
//	...
//	stop, err := otelpo.InboxGauges(inbox)         // what waits, and how long
//
// Names follow OpenTelemetry's semantic conventions for messaging 1.30.0, which are in
// development, with "postoffice" as the messaging.system. Names that the conventions do
// not define begin with "postoffice.". No attribute contains a payload, an attribute of
// a message, a credential or the text of an error.
//
// # Metrics of the Observer
//
// All have the attributes messaging.system and, where the topic is known,
// messaging.destination.name.
//
//   - messaging.client.operation.duration, histogram in s: calls to Publish
//     (messaging.operation.name "publish") and requests to the server
//     ("post"); error.type when they failed.
//   - messaging.client.sent.messages, counter: posted messages, once for each
//     delivery; the quick retry of a request and the parts of a split bulk count
//     only in the duration. error.type and postoffice.failure.class ("transient",
//     "config", "permanent") if the server did not accept them.
//   - postoffice.published.messages, counter: accepted messages, by
//     postoffice.state: "delivered", "stored", "queued".
//   - postoffice.stored.messages and postoffice.spilled.messages, counters:
//     messages stored in the outbox because they could not be delivered, and the
//     ones among them that were not posted at all.
//   - postoffice.dead.messages, postoffice.no_consumer.messages and
//     postoffice.discarded.messages, counters: messages that the server rejected
//     permanently, that it dropped because their topic has no consumer, and that
//     FlushOn dropped or a person discarded.
//   - postoffice.recovery.lists, postoffice.recovery.listed.messages and
//     postoffice.recovery.deleted.messages, counters: the server's rescuer.
//   - postoffice.delivery.age, histogram in s, and
//     postoffice.delivery.attempts, histogram: the age of the oldest message of
//     each request that the server accepted, and the maximum number of attempts of its
//     messages, by postoffice.from_outbox.
//   - postoffice.breaker.changes, counter, by postoffice.breaker.state.
//   - postoffice.setup.results, counter, by postoffice.setup.kind ("topic",
//     "consumer") and postoffice.setup.status ("created", "exists", "failed").
//
// # Metrics of Gauges
//
//   - postoffice.queue.messages and postoffice.queue.bytes: messages in memory;
//     postoffice.queue.at_risk.age in s: the age of the oldest message that is
//     only in memory.
//   - postoffice.breaker.state and postoffice.outbox.breaker.state: the circuit
//     breakers of the server and of the outbox, 1 for the state in the attribute
//     postoffice.breaker.state that they are in, 0 for the other states.
//   - postoffice.outbox.messages, by postoffice.outbox.state ("pending",
//     "dead"), postoffice.outbox.bytes, and postoffice.outbox.oldest.age in s.
//
// # Metrics of the DeliveryObserver
//
// All have the attributes messaging.system and, if the handler has a topic,
// messaging.destination.name. Those of an inbox have
// messaging.destination.subscription.name, the name of [delivery.WithName].
//
//   - messaging.process.duration, histogram in s, and
//     messaging.client.consumed.messages, counter: calls of functions, once for each
//     attempt (messaging.operation.name "process"); error.type if they failed.
//   - postoffice.consumer.outcomes, counter by postoffice.outcome. For requests of the
//     server: "stored" (in an inbox), "duplicate", "busy" (a copy is being handled),
//     "skipped" (by [delivery.WithLatest]) and "refused". For calls of functions:
//     "handled", "failed", "timed_out", "panicked" and "discarded". For messages of an
//     inbox: "dead".
//   - postoffice.inbox.age, histogram in s, and postoffice.inbox.attempts, histogram:
//     the age of each handled message of an inbox when its last call began, and its
//     calls. The server reports neither, so a handler without an inbox has none.
//
// The error.type is "refused" (wrong credentials, method, type or size),
// "not_decoded", "not_deduplicated", "not_stored", "panic", "discarded", "timeout", or
// the kind of error that the function returned, "_OTHER" for an error of the app.
//
// # Metrics of InboxGauges
//
//   - postoffice.inbox.messages, by postoffice.inbox.state ("pending", "dead"),
//     postoffice.inbox.bytes, and postoffice.inbox.oldest.age in s.
//
// # Traces
//
// A call to Publish, PublishBulk or PublishTx is a span "publish {topic}" of kind
// producer. Its messaging.operation.type is "send" if the messages are posted within
// the call; otherwise it is "create", and postoffice.state is "stored" or "queued".
//
// A request to the server is a span "post {topic}" of kind client, a child of the
// span of its call. A single message that is posted within its call has no such span,
// because both would be the same, unless the request fails: the call may still
// succeed by storing the message. Messages that are posted after their call, with
// AfterResponse, are posted in a trace of their own, linked to the spans of up to 128
// of their calls. Messages that the relay posts have no links, because the outbox does
// not keep them.
//
// Each call of a function for a received message is a span "process {topic}" of kind
// consumer; postoffice.attempts counts the calls in an inbox. The span is linked to
// the publisher's, if the message carries its trace, see [WithPropagation]. It is a
// child of the span in the request's context, or begins a trace. With
// delivery.WithContext([Extract]) it is a child of the publisher's span, in the same
// trace.
//
// # What it costs
//
// With a server in the same process that responds at once, a Publish takes 1.06 times
// as long with metrics, 1.09 with metrics and the traces of one call in ten, 1.11 with
// all traces. With a server that takes a millisecond, it takes 1.01 times as long.
// The SDK causes most of it: the Observer takes 1.1 times as long as the same span and
// measurements made by hand. BenchmarkPublish and BenchmarkObserver measure both.
package otelpo
