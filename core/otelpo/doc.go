// Package otelpo makes OpenTelemetry metrics and traces of what a client
// does, and of the messages that an app receives.
//
//	observer := otelpo.Observer()                  // the global providers
//	client, err := core.NewClient(core.Config{Observer: observer, ...})
//	...
//	stop, err := otelpo.Gauges(client)             // what waits, and how long
//	...
//	defer stop()
//
// An app with an Observer of its own passes both:
// core.JoinObservers(otelpo.Observer(), own).
//
// Messages that are received, by a handler or an inbox of package delivery:
//
//	handler := delivery.Handler(bill, delivery.WithObserver(otelpo.DeliveryObserver()))
//	inbox, err := delivery.NewInbox(store, delivery.InboxOptions{Observer: otelpo.DeliveryObserver()})
//	...
//	stop, err := otelpo.InboxGauges(inbox)         // what waits, and how long
//
// Names follow the semantic conventions for messaging of OpenTelemetry
// 1.43.0, which are in development there, with "postoffice" as the
// messaging.system. What they have no name for begins with "postoffice.".
// No attribute ever holds a payload, an attribute of a message, a credential
// or the text of an error.
//
// # Metrics of the Observer
//
// All have the attributes messaging.system and, where the topic is known,
// messaging.destination.name.
//
//   - messaging.client.operation.duration, histogram in s: calls to Publish
//     (messaging.operation.name "publish") and requests to the server
//     ("post"); error.type when they failed.
//   - messaging.client.sent.messages, counter: messages that were posted, each
//     delivery by itself; the quick retry of a request and the parts of a bulk
//     that was split count in the duration alone. error.type and
//     postoffice.failure.class ("transient", "config", "permanent") when the
//     server did not take them.
//   - postoffice.published.messages, counter: accepted messages, by
//     postoffice.state: "delivered", "stored", "queued".
//   - postoffice.stored.messages and postoffice.spilled.messages, counters:
//     what was stored in the outbox because it could not be delivered, and
//     those of it that were not even tried.
//   - postoffice.dead.messages, postoffice.no_consumer.messages and
//     postoffice.discarded.messages, counters: what a person should know of.
//   - postoffice.recovery.lists, postoffice.recovery.listed.messages and
//     postoffice.recovery.deleted.messages, counters: the server's rescuer.
//   - postoffice.delivery.age, histogram in s, and
//     postoffice.delivery.attempts, histogram: once for each request that the
//     server took, the age of its oldest message and the most attempts of any,
//     by postoffice.from_outbox.
//   - postoffice.breaker.changes, counter, by postoffice.breaker.state.
//   - postoffice.setup.results, counter, by postoffice.setup.kind ("topic",
//     "consumer") and postoffice.setup.status ("created", "exists", "failed").
//
// # Metrics of Gauges
//
//   - postoffice.queue.messages and postoffice.queue.bytes: what waits in
//     memory; postoffice.queue.at_risk.age in s: how old the oldest message is
//     that is in memory alone.
//   - postoffice.breaker.state and postoffice.outbox.breaker.state: the circuit
//     breakers of the server and of the outbox, 1 for the state in the attribute
//     postoffice.breaker.state that they are in, 0 for the other states.
//   - postoffice.outbox.messages, by postoffice.outbox.state ("pending",
//     "dead"), postoffice.outbox.bytes, and postoffice.outbox.oldest.age in s.
//
// # Metrics of the DeliveryObserver
//
// All have the attributes messaging.system and, where the handler has a topic,
// messaging.destination.name. Those of an inbox have
// messaging.destination.subscription.name, which is that of [delivery.WithName].
//
//   - messaging.process.duration, histogram in s, and
//     messaging.client.consumed.messages, counter: calls of functions, each attempt by
//     itself (messaging.operation.name "process"); error.type when they failed.
//   - postoffice.consumer.outcomes, counter by postoffice.outcome. Of requests of the
//     server: "stored" (in an inbox), "duplicate", "busy" (a copy is being handled),
//     "skipped" (by [delivery.WithLatest]) and "refused". Of calls of functions:
//     "handled", "failed", "timed_out", "panicked" and "discarded". Of messages of an
//     inbox: "dead".
//   - postoffice.inbox.age, histogram in s, and postoffice.inbox.attempts, histogram:
//     once for each message of an inbox that was handled, how long it had been there
//     when its last call began, and the calls. The server tells neither, so there are
//     none of a handler without an inbox.
//
// The error.type is "refused" (credentials, method, type or size are wrong),
// "not_decoded", "not_deduplicated", "not_stored", "panic", "discarded", "timeout", or
// that of the error that the function has returned, "_OTHER" for one of the app's own.
//
// # Metrics of InboxGauges
//
//   - postoffice.inbox.messages, by postoffice.inbox.state ("pending", "dead"),
//     postoffice.inbox.bytes, and postoffice.inbox.oldest.age in s.
//
// # Traces
//
// A call to Publish, PublishBulk or PublishTx is a span "publish {topic}" of
// kind producer. Its messaging.operation.type is "send" where the messages are
// posted within the call; otherwise it is "create", and postoffice.state tells
// where they are, "stored" or "queued".
//
// A request to the server is a span "post {topic}" of kind client, below that
// of its call. A message that is posted within its call has none, for both
// would say the same, unless the request fails: the call may well succeed, by
// storing the message. Messages that are posted after their call, by requests
// with AfterResponse, are posted in a trace of their own, linked to the spans
// of up to 128 of their calls. What is posted from the outbox, by the relay,
// has no links: the outbox does not keep them.
//
// A call of a function for a message that was received is a span "process {topic}" of
// kind consumer, for each attempt; postoffice.attempts counts them in an inbox. It is
// linked to the span of the publisher, if that has put its trace into the message, see
// [WithPropagation]; otherwise there is nothing to link to. It is below the span that
// the request's context has, or else begins a trace. With
// delivery.WithContext([Extract]) it is below the publisher's span, in the same trace.
//
// # What it costs
//
// Against a server in the same process that answers at once, a Publish takes
// 1.06 times as long with metrics, 1.09 with metrics and the traces of one in
// ten, 1.11 with those of all. Where the server takes a millisecond it is 1.01.
// Most of that is the SDK's: what the Observer does takes 1.1 times as long as
// the same span and measurements made by hand. BenchmarkPublish and
// BenchmarkObserver measure it.
package otelpo
