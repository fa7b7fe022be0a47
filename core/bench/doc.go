// Package bench measures the client and its floor, which is the fastest
// possible implementation by hand, in the same run. It only has benchmarks.
//
//	go test -bench . ./core/bench        once, with the test tool's own figures
//	go test -bench . -short ./core/bench without the largest load
//	.ci/bench                            several rounds, as a table of ratios
//
// Unless they are called bare, messages are published by the publisher of their
// own request and have two attributes, equal for all messages, that are set by
// two [core.WithAttribute]. The floors send the same attributes. The benchmarks
// and their floors:
//
//   - Publish: publishing within the call from 1, 16 and 64 goroutines: to one
//     topic, to 4 topics, and with attributes that differ between goroutines.
//     The server responds at once, or has the cost model of the real one.
//     Floor: tuned net/http with kept connections for all goroutines and a
//     timeout that never expires, which encodes the same message with
//     json.Marshal, posts it and drains the response.
//   - PublishBulk: [core.Client.PublishBulk] with 10,000 messages. Floor:
//     consecutive requests of 500 messages by hand.
//   - Scheduled: single messages with [core.DeliverAt]. Floor: tuned net/http.
//   - Protocols: HTTP/2 in clear text, single messages to a server of net/http
//     with the cost model. Floor: HTTP/1.1.
//   - Memory: [core.Publisher.Publish] with AfterResponse Memory, from the
//     first call until Flush has returned. The attributes are set by two
//     WithAttribute, by one WithAttributes (mapped), or differ between messages
//     (unique), which prevents batches; bare messages have no attributes and
//     share one publisher. Floor: one loop per caller that encodes 500 payloads
//     at a time and posts them; for unique attributes, 4 loops that post one
//     message at a time.
//   - MemoryPaced: the time of a single Publish with AfterResponse Memory while
//     messages are not published faster than they are delivered. Floor:
//     json.Marshal of the payload alone.
//   - Handler: a net/http app with the nethttp adapter, whose handler publishes
//     one message, with a load of 32 connections. The server responds at once,
//     after 1 ms, after 5 ms, refuses connections, or never responds; the last
//     two are measured after the circuit breaker has opened. Floor: the same
//     app without middleware, whose handler publishes nothing.
//   - FlushOn: the same app with Options.FlushOn, one message in each mode, and
//     5 messages of a request in one commit, with 32 connections and with one.
//     Floor: the same app without FlushOn, which accepts each message
//     separately.
//   - Outage: the Handler app in the first 4 seconds after a server that worked
//     goes down, before and after the circuit breaker opens.
//   - Durable: [core.Publisher.Publish] with AfterResponse Durable from 32
//     goroutines, until all rows are posted and deleted. Floor: a hand-written
//     SQLite writer that inserts the same rows, all waiting ones in one
//     transaction, and deletes them 500 at a time, with the schema and the
//     settings of the outbox. It neither encodes nor posts anything.
//   - Inbox: delivery.Queued, called in the process from 32 goroutines, until
//     the last message is acknowledged, while its workers handle messages, with
//     the embedded store and with PostgreSQL; handled/s counts until the last
//     message is handled. Compared with: the inserts of the same store alone,
//     and publishing with Durable. InboxWaiting has 0, 10,000 and 1,000,000
//     messages waiting in the store.
//   - Growth: the time per message and the heap with AfterResponse Memory, by
//     the number of messages published in a row, 1,000 to 1,000,000, of which
//     memory holds 10,000 at a time. Floor: the smallest number.
//
// The server is a separate process that accepts requests as cheaply as
// possible, so the time of this process is only the client's. It closes each
// connection with the 1000th response, as Postoffice does. It counts the
// messages that it receives, and a run that lost one fails.
//
// The cost model simulates the real server, which is slower than any client: a
// request occupies one of 2 workers for 1.5 ms plus 0.12 ms per payload;
// requests wait in the order of arrival.
//
// Figures: msgs/s and req/s are throughput. cpu-ns/msg and cpu-ns/req are the
// CPU time of this process, including garbage collection, and server-ns/msg is
// the CPU time of the server. posts/msg is the number of requests that the
// server received. delivered-% is the share of messages that it accepted within
// their calls; the others are stored. allocs/msg, allocs/req and B/msg count
// all allocations of this process. p50-ns, p99-ns and max-ns are percentiles of
// single calls or requests. heap-B is the maximum heap in use. Compare only the
// two sides of one run: everything else depends on the machine and its load.
package bench
