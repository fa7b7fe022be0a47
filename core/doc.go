// Package core is the client for a Postoffice server: configuration, setup and
// publishing. The packages nethttp, ginpo, echopo and echopo/v5 integrate it
// into web apps.
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
//	err = client.Start(ctx) // creates the topics and starts the relay
//	...
//	receipt, err := client.Publish(ctx, "orders", Order{ID: 7},
//		core.WithAttribute("region", "north"))
//	...
//	err = client.Stop(ctx)
//
// # The promise
//
// Messages are delivered at least once, in no particular order. Publish returns
// nil only when the server has responded with 201 or the message is committed
// in the outbox, from which a relay delivers it later. An error means that the
// message was not accepted. A message is delivered twice if the server's
// response is lost, so consumers must handle duplicates.
//
// An outage of the server does not slow the app down: after a few failures a
// circuit breaker opens, and messages go straight to the outbox until the
// server is back.
//
// # After the response
//
// A client publishes within the call. So do the publishers that the adapters
// add to requests, unless [Options] select another mode: [Durable] stores a
// message within the call, [Memory] queues it within the call, and both post it
// afterwards together with messages of other requests. Memory is the only mode
// that can lose accepted messages: a crash of the process loses the messages
// that are only in memory. With an outbox, a message is only in memory for at
// most Batching.MaxAge.
//
// # Monitoring
//
// The log reports important events, rate-limited. [Observer] receives all
// events, [Client.Stats] and [Outbox.Stats] count waiting messages,
// [Client.Status] and [Client.LastHour] report the current state and the recent
// past, and [github.com/postoffice-go/postoffice/core/otelpo] exports
// OpenTelemetry metrics and traces. [Client.Ready] serves the probes of an
// orchestrator, [Client.Health] queries the server.
//
// # What the server does
//
// The server has some surprising behavior that shapes this package:
//
//   - It responds with 201 and discards the message if the topic has no
//     consumers. The log and [Observer] report this.
//   - It does not update an existing topic or consumer, whatever the Config
//     says.
//   - It overwrites a payload's own key "attributes" when it delivers to an
//     HTTP consumer.
//   - It converts numbers with a fraction to double precision.
package core
