// Package core is the client for a Postoffice server: configuration, setup
// and publishing. The packages nethttp, ginpo and echopo put it into web
// apps.
//
//	store, err := sqlite.Open(ctx, "outbox.db")
//	...
//	client, err := core.NewClient(core.Config{
//		URL:        "http://postoffice:4000",
//		Topics:     []string{"orders"},
//		OriginHost: "http://user:secret@orders:8080",
//		Outbox:     store,
//	})
//	...
//	err = client.Start(ctx) // creates the topics, delivers what is stored
//	...
//	receipt, err := client.Publish(ctx, "orders", Order{ID: 7}, core.WithAttribute("region", "north"))
//	...
//	err = client.Stop(ctx)
//
// # The promise
//
// Messages are delivered at least once, in no particular order. Publish
// returns nil only when the server has answered 201 or the message is
// committed in the outbox, from where a relay delivers it later; an error
// means that the message was not accepted. A message arrives twice when an
// answer of the server was lost on its way: consumers should be ready for
// that.
//
// An outage does not slow the app: after a few failures a circuit breaker
// opens, and messages go straight to the outbox until the server is back.
//
// # After the response
//
// A client publishes within the call. So do the publishers that the adapters
// put into requests, unless [Options] say otherwise: with [Durable] a message
// is stored within the call, with [Memory] it is queued within the call, and
// both post it afterwards, together with those of other requests. Memory is
// the only mode that can lose accepted messages: a crash of the process loses
// those that are in memory alone, which with an outbox they are for at most
// Batching.MaxAge.
//
// # Watching it
//
// The log tells what a person should know, once in a while. [Observer] is
// told everything, [Client.Stats] and [Outbox.Stats] tell what waits,
// [Client.Status] and [Client.LastHour] how it goes, and
// [github.com/postoffice-go/postoffice/core/otelpo] makes OpenTelemetry
// metrics and traces of it. [Client.Ready] is for the probes of an
// orchestrator, [Client.Health] asks the server.
//
// # What the server does
//
// The server has surprises that shape this package. It throws away messages
// of a topic without consumers, although it answers 201: the log and
// [Observer] tell. It changes nothing about a topic or consumer that exists,
// whatever is configured here. It overwrites a payload's own key
// "attributes" when it delivers to an HTTP consumer. Numbers with a fraction
// become double precision.
package core
