// Package postofficetest is a fake Postoffice server for tests, examples and
// development. It answers as a real server (0.19.0) was recorded to, over
// real HTTP, delivers to HTTP consumers, runs the rescuer, and can be made to
// fail in every way in which a server or the network does.
//
//	server := postofficetest.Start(t)
//	client := postofficetest.NewClient(t, server, core.Config{Topics: []string{"orders"}})
//	// ... let the code under test publish with the client ...
//	err := server.WaitForMessages(t.Context(), "orders", 1) // 5 s at most
//	fmt.Println(server.MessagesOf("orders"))
//
// # What it promises
//
// Every recorded exchange with the API, but one named below, gets the
// recorded status and JSON body, ids aside; the package's tests replay the
// recording. That includes
// what surprises: permanent errors that look like a 500, the 201 for a
// message that is thrown away because its topic has no consumer, a 409 that
// updates nothing, consumers that can never be created again once deleted,
// inactive consumers to which it delivers ([Consumer.Heeded]), of duplicate
// keys the first, and the limits of a bulk.
//
// Consumers get what the real server sends: the same headers, the payload
// with the attributes in it, Basic auth from the target's userinfo, and the
// same message-id on every retry. Any 2xx acknowledges; everything else is
// retried, with gaps that grow from 16 s to 12 days, 100 times in all.
//
// The rescuer calls each distinct origin host of the topics with recovery
// enabled, every 30 s of the clock or by [Server.RunRescuer], publishes what
// it is offered and deletes it there. An item that would make the real
// server raise an exception ends the run, which is started four times.
//
// # Time
//
// The clock stands still, at the wall clock's time of the server's start,
// until the test moves it on with [Server.Advance]. First deliveries go out
// at once; retries, scheduled messages and the rescuer wait for the clock.
// [WithRealTime] lets it follow the wall clock. Timeouts of the server's own
// requests always run by the wall clock; [WithSecond] shortens them.
//
// [Server.Wait], [Server.WaitForMessages] and their like end after 5 s, unless
// their context has a deadline of its own, and say what arrived instead. In a
// bubble of testing/synctest these are the bubble's seconds; what a bubble
// lacks is a network, see [Server.Transport].
//
// # Faults
//
// [Server.FailNext], [Server.AnswerNext], [Server.FailWhen], [Server.Delay],
// [Server.Hang], [Server.DropNext], [Server.ResetNext] and [Server.Stop] may be
// used at any time; [Server.Resume] and [Server.Restart] end them.
//
// # Cost
//
// The server answers at once. [WithCost] lets requests take time, and
// [RealisticCost] is what they were seen to cost a real server.
//
// # Programs
//
// For programs that run a server for people to develop against there are
// [WithFront] for pages beside the API, [WithHistory] and [WithMaxGap] for its
// bounds, [WithRecords] to begin with what an earlier server held, and
// [Server.Operator], which breaks the server as a whole, publishes, retries,
// shows what it holds page by page, and keeps a journal of it.
//
// # Limits
//
// It differs from the real server in this:
//
//   - A path with invalid percent-encoding is answered with 400 by net/http,
//     the only recorded exchange that is not replayed; the real server says
//     404. A head that is never finished is cut off without the 408, and a
//     413 announces that it closes the connection.
//   - Files of multipart forms are passed over.
//   - Arrays in one another cannot be stored from 20,000 on. The real limit
//     lies between 10,000 and that; the limit of objects was not found.
//   - The pages for operators, beside the API, answer 404; for pausing a
//     consumer there is [Server.SetPaused].
//   - Jobs of pubsub consumers are made and shown, and nothing is sent.
//   - Retries come at the exact gap; the real ones come up to a tenth of it
//     earlier or later, and on the second.
//   - At most 50 deliveries are under way at once, as on the real server, but
//     waiting for a free connection uses up no attempt, and the rescuer does
//     not compete with the deliveries.
//   - A standing clock does one run of the rescuer after the other, and one
//     host after the other. With real time runs overlap, as they do really.
//   - What was not recorded follows the public source of the real server, of
//     which the version is not certain: jobs of a paused consumer look again
//     every 30 s, those of a deleted one are discarded when it is heeded, a
//     pause or a deletion by an operator always is heeded, jobs keep the
//     target of a consumer that is changed, a bulk for a consumer
//     with a chunk_size under 1 is a 500, and an origin host that answers {}
//     has nothing to offer.
//   - A delivery with a seconds_timeout of zero or less fails without being
//     sent; how the real server fails was not recorded.
//   - Numbers arrive with the value they have on a real server, but perhaps
//     in another notation; the order of keys is lost there and here, not
//     alike for objects of more than 32 keys.
//   - Nothing is stored beyond the process, unless a program does it by
//     [Operator.Journal], and there is one node.
package postofficetest
