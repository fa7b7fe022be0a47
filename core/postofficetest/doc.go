// Package postofficetest is a fake Postoffice server for tests, examples and
// development. It answers as recorded from a real server (0.19.0), over real HTTP,
// delivers to HTTP consumers, runs the rescuer, and can simulate every kind of
// failure of a server or the network.
//
//	server := postofficetest.Start(t)
//	client := postofficetest.NewClient(t, server, core.Config{Topics: []string{"orders"}})
//	// ... let the code under test publish with the client ...
//	err := server.WaitForMessages(t.Context(), "orders", 1) // at most 30 s
//	fmt.Println(server.MessagesOf("orders"))
//
// # What it promises
//
// Every recorded exchange with the API, except for one named below, gets the
// recorded status and JSON body, apart from ids; the package's tests replay the
// recording. That includes surprising behaviour: permanent errors that look like a
// 500, the 201 for a message that is discarded because its topic has no consumer,
// a 409 that updates nothing, consumers that can never be created again once
// deleted, deliveries to inactive consumers ([Consumer].Heeded), the first of
// duplicate keys, and the limits of a bulk.
//
// Consumers get what the real server sends: the same headers, the payload including
// the attributes, Basic auth from the target's userinfo, and the same message-id on
// every retry. Any 2xx acknowledges; after other answers the server tries again, 100
// times in all, with gaps that grow from 16 s to 12 days.
//
// The rescuer calls each distinct origin host of the topics with recovery enabled,
// every 30 s of the clock or by [Server.RunRescuer], publishes the items that it is
// offered and deletes them there. An item that causes an exception on the real
// server ends the run, which is started up to four times.
//
// # Time
//
// The clock stands still, at the wall clock's time of the server's start, until the
// test advances it with [Server.Advance]. First deliveries start at once; retries,
// scheduled messages and the rescuer wait for the clock. With [WithRealTime] it
// follows the wall clock. Timeouts of the server's own requests always use the wall
// clock; [WithSecond] shortens them.
//
// [Server.Wait], [Server.WaitForMessages] and similar methods end after 30 s unless
// their context has a deadline; their error says what has arrived. In a bubble of
// testing/synctest these are seconds of the bubble. A bubble has no network, see
// [Server.Transport].
//
// # Faults
//
// [Server.FailNext], [Server.AnswerNext], [Server.FailWhen], [Server.Delay],
// [Server.Hang], [Server.DropNext], [Server.ResetNext] and [Server.Stop] may be
// called at any time; [Server.Resume] and [Server.Restart] end the faults.
//
// # Cost
//
// The server answers at once. [WithCost] makes requests take time, and
// [RealisticCost] is the cost measured with a real server.
//
// # Programs
//
// Programs that run a server for development can use [WithFront] for pages beside
// the API, [WithHistory] and [WithMaxGap] for its bounds, [WithRecords] to start
// with the data of an earlier server, and [Server.Operator], which makes the whole
// server fail, publishes, retries, returns its data page by page, and keeps a
// journal of it.
//
// # Limits
//
// It differs from the real server as follows:
//
//   - net/http answers a path with invalid percent-encoding with 400, the only
//     recorded exchange that is not replayed; the real server says 404. An
//     incomplete head is cut off without the 408, and a 413 announces that it
//     closes the connection.
//   - Files of multipart forms are ignored.
//   - Arrays nested 20,000 deep or more cannot be stored. The real limit is
//     between 10,000 and that; the limit of objects was not found.
//   - The pages for operators, beside the API, answer 404; to pause a consumer
//     use [Server.SetPaused].
//   - Jobs of pubsub consumers are created and returned, but never sent.
//   - Retries come at the exact gap; the real ones come up to a tenth of it
//     earlier or later, and at whole seconds.
//   - At most 50 deliveries run concurrently, as on the real server, but
//     waiting for a free connection uses no attempt, and the rescuer does not
//     compete with the deliveries.
//   - With a standing clock, rescuer runs follow one after another, and so do
//     hosts. With real time, runs overlap as on the real server.
//   - Behaviour that was not recorded follows the public source of the real
//     server, whose version is not certain: jobs of a paused consumer check
//     again every 30 s, those of a deleted one are discarded when it is heeded,
//     a pause or a deletion by an operator is always heeded, jobs keep the
//     target of a consumer that is changed, a bulk for a consumer with a
//     chunk_size below 1 is a 500, and an origin host that answers {} has
//     nothing to offer.
//   - A delivery with a seconds_timeout of zero or less fails without being
//     sent; how the real server fails was not recorded.
//   - Numbers arrive with the value that they have on a real server, but
//     possibly in another notation; the order of keys is lost there and here, but
//     differently for objects with more than 32 keys.
//   - Nothing is stored beyond the process, unless a program does it with
//     [Operator.Journal], and there is one node.
package postofficetest
