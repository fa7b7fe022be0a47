// Package bench measures the client beside what it cannot be faster than, its
// floor, in the same run. It holds benchmarks only.
//
//	go test -bench . ./core/bench        once, with the test tool's own figures
//	go test -bench . -short ./core/bench without the largest load
//	.ci/bench                            several rounds, as a table of ratios
//
// What is measured, and the floor beside it:
//
//   - Publish: [core.Client.Publish] from 1, 16 and 64 goroutines. Floor:
//     net/http tuned by hand, with connections kept for all of them, which
//     encodes the same message with json.Marshal, posts it with an
//     http.Client of the same timeout and drains the answer.
//   - Memory: [core.Publisher.Publish] with AfterResponse Memory, from the
//     first call until Flush has returned, without attributes, with one that
//     all messages share and with one that is different for each, which
//     leaves nothing to put together. Floor: loops by hand, as many as there
//     are callers, that encode 500 payloads at a time, with 4 posts in flight;
//     where each message has its attribute, 4 loops that post one at a time.
//   - MemoryPaced: the time of a single Publish with AfterResponse Memory
//     while no more is published than is delivered. Floor: json.Marshal of
//     the payload alone.
//   - Handler: a net/http app behind the nethttp adapter, whose handler
//     publishes one message, under a load of 32 connections, with the server
//     answering at once, after 1 ms, after 5 ms, refusing connections, and
//     never answering; the last two once the circuit breaker has opened.
//     Floor: the same app without middleware, whose handler publishes
//     nothing.
//   - Durable: [core.Publisher.Publish] with AfterResponse Durable from 32
//     goroutines, until all rows are posted and deleted. Floor: a writer of
//     SQLite by hand that inserts the same rows, all that wait in one
//     transaction, and deletes them 500 at a time, with the schema and the
//     settings of the outbox. It neither encodes nor posts anything.
//   - Growth: the time of a message and the heap with AfterResponse Memory,
//     by how many messages are published in a row, 1,000 to 1,000,000, of
//     which memory holds 10,000 at a time. Floor: the smallest number.
//
// The server is a process of its own that takes what comes as cheaply as it
// can, so that the time of this process is the client's alone. It closes each
// connection with the 1000th answer, as Postoffice does. It counts the
// messages it gets, and a run that lost one fails.
//
// Figures: msgs/s and req/s are throughput; cpu-ns/msg is the time on the
// processor of this process, garbage collection included; allocs/msg and
// B/msg count all allocations of this process; p50-ns and p99-ns are
// percentiles of single calls or requests; heap-B is the most heap seen in
// use. Compare the two sides of one run only: the rest depends on the machine
// and its other load.
package bench
