// Package bench measures the client beside what it cannot be faster than, its
// floor, in the same run. It holds benchmarks only.
//
//	go test -bench . ./core/bench        once, with the test tool's own figures
//	go test -bench . -short ./core/bench without the largest load
//	.ci/bench                            several rounds, as a table of ratios
//
// Unless a mix of messages is called bare, each message is published with the
// publisher of a request of its own, and has two attributes that are the same
// for all, set by two [core.WithAttribute]. The floors send the same
// attributes. What is measured, and the floor beside it:
//
//   - Publish: publishing within the call from 1, 16 and 64 goroutines: to one
//     topic, to 4 topics, and with attributes that differ from goroutine to
//     goroutine. The server answers at once, or has the cost model of the real
//     one. Floor: net/http tuned by hand, with connections kept for all
//     goroutines and a timeout that never ends, which encodes the same message
//     with json.Marshal, posts it and drains the answer.
//   - PublishBulk: [core.Client.PublishBulk] with 10,000 messages. Floor:
//     requests of 500 by hand, one after the other.
//   - Scheduled: single messages with [core.DeliverAt]. Floor: net/http tuned
//     by hand.
//   - Protocols: HTTP/2 in clear text, single messages to a server of net/http
//     with the cost model. Floor: HTTP/1.1.
//   - Memory: [core.Publisher.Publish] with AfterResponse Memory, from the
//     first call until Flush has returned. The attributes are set by two
//     WithAttribute, by one WithAttributes (mapped), or differ from message to
//     message (unique), which leaves nothing to put together; bare messages
//     have none and one publisher for all. Floor: loops by hand, as many as
//     there are callers, each of which encodes 500 payloads at a time and posts
//     them; for unique attributes, 4 loops that post one at a time.
//   - MemoryPaced: the time of a single Publish with AfterResponse Memory
//     while no more is published than is delivered. Floor: json.Marshal of
//     the payload alone.
//   - Handler: a net/http app behind the nethttp adapter, whose handler
//     publishes one message, under a load of 32 connections, with the server
//     answering at once, after 1 ms, after 5 ms, refusing connections, and
//     never answering; the last two once the circuit breaker has opened.
//     Floor: the same app without middleware, whose handler publishes
//     nothing.
//   - FlushOn: the same app with Options.FlushOn, one message in each mode, and
//     5 messages of a request that are committed once, over 32 connections and
//     over one. Floor: the same app without FlushOn, which accepts each message
//     by itself.
//   - Outage: the Handler app in the first 4 seconds after a server that has worked
//     goes down, before and after the circuit breaker opens.
//   - Durable: [core.Publisher.Publish] with AfterResponse Durable from 32
//     goroutines, until all rows are posted and deleted. Floor: a writer of
//     SQLite by hand that inserts the same rows, all that wait in one
//     transaction, and deletes them 500 at a time, with the schema and the
//     settings of the outbox. It neither encodes nor posts anything.
//   - Inbox: delivery.Queued, called in the process from 32 goroutines, until the
//     last message is acknowledged, while its workers handle them, in the embedded
//     store and in PostgreSQL; handled/s counts until the last one is handled.
//     Beside it: the same store's inserts alone, and publishing with Durable.
//     InboxWaiting has 0, 10,000 and 1,000,000 messages waiting in the store.
//   - Growth: the time of a message and the heap with AfterResponse Memory,
//     by how many messages are published in a row, 1,000 to 1,000,000, of
//     which memory holds 10,000 at a time. Floor: the smallest number.
//
// The server is a process of its own that takes what comes as cheaply as it
// can, so that the time of this process is the client's alone. It closes each
// connection with the 1000th answer, as Postoffice does. It counts the
// messages it gets, and a run that lost one fails.
//
// The cost model stands for the real server, which is slower than any client: a
// request holds one of 2 workers for 1.5 ms, and for 0.12 ms more for each
// payload; what waits is served in the order of arrival.
//
// Figures: msgs/s and req/s are throughput; cpu-ns/msg and cpu-ns/req are the
// time on the processor of this process, garbage collection included, and
// server-ns/msg that of the server; posts/msg is the number of requests that
// the server got; delivered-% is the share of messages that it took within
// their calls, the others being stored; allocs/msg, allocs/req
// and B/msg count all allocations of this process; p50-ns, p99-ns and max-ns are percentiles of
// single calls or requests; heap-B is the most heap seen in use. Compare the two
// sides of one run only: the rest depends on the machine and its other load.
package bench
