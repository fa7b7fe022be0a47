// Package delivery is the receiving side: it makes an [net/http.Handler] of a
// typed function, for what the server posts to a consumer.
//
//	orders := core.Consumer{Topic: "orders", Target: "http://user:secret@billing:8080/consume/orders"}
//	...
//	handler := delivery.Handler(func(ctx context.Context, m delivery.Message[Order]) error {
//		return bill(ctx, m.Payload)
//	}, delivery.WithConsumer(orders))
//	err := ginpo.Consume(router, "/consume/orders", handler)
//
// The adapters' Consume puts it into an app; any other router will do, too.
//
// # Answers
//
// The server knows two answers: 2xx acknowledges a message, and all others
// are alike. It then posts the message again, after 15 s at first and after
// days in the end, a hundred times in 85 days, and drops it. All consumers
// share the server's 50 connections, so a consumer that is slow, or fails
// slowly, holds up the others: it should answer fast.
//
//	the function returns nil                     204
//	it returns Discard(err)                      204, reported
//	it returns another error, or panics          500, reported
//	the payload does not fit T, or is no JSON    400, reported; see below
//	a duplicate of a message that was handled    204
//	a duplicate of one that is being handled     409
//	a message that was overtaken; see WithLatest 204
//	the deduplicator fails                       503, reported
//	credentials are missing or wrong             401, reported
//	a method other than POST                     405, reported
//	the body is too large                        413, reported
//	the body is not application/json             415, reported
//
// What is reported goes to the log, once in ten seconds for each kind of
// [Problem], with a count of those left out, and each to the function of
// [WithOnError]. An answer says no more than the kind of problem, and with
// [WithStrict] the name of a field that is not expected. A panic with
// [net/http.ErrAbortHandler] passes on.
//
// # Messages that cannot be decoded
//
// A message that is no JSON or does not fit T fails however often it comes.
// To acknowledge it would lose it in silence, so by default it is not
// acknowledged: the server keeps it for 85 days, each attempt costs little and
// is reported, and a consumer that is mended meanwhile gets it after all.
// [WithUndecodable] gives such a message to a function instead, which may put
// it aside, and acknowledges it when the function returns nil.
//
// Unless [WithStrict] is set, fields that T does not have are passed over,
// so that publishers can add fields.
//
// # Metadata
//
// A publisher of this module may put attributes into the payload, under the key
// "_postoffice" ([core.MetadataKey]), an object of strings. The handler takes it
// out and merges it into the attributes, where [Message], [WithContext] and
// deduplication see it. An attribute of the same name counts for more; of equal
// keys the first does, as on the server. A value that is not an object of strings
// is the publisher's own: it stays in the payload, and nothing is merged.
//
// This happens whatever the publisher's settings are, so consumers are upgraded
// before publishers. This module refuses to publish a payload that has the key,
// so who fills in a payload cannot forge a message_id or a trace. Other
// publishers may not: use [WithoutMetadata] for their messages.
//
// # Numbers
//
// A number for which T names no type, in a map[string]any, a field of type any
// or below one, is a [encoding/json.Number] with every digit that was sent.
// As a float64, integers over 2^53 would silently become others. Its methods
// Int64 and Float64 convert it; a T with a field of type int64 needs neither.
//
// # Time
//
// The server waits for an answer as long as the consumer's Timeout says, 5 s
// by default, and hangs up. The function's context ends then, and earlier
// with [WithTimeout]. Nobody hears the answer any more, and the message comes
// again, whatever the function has done. A function that is to finish all the
// same detaches its context by [context.WithoutCancel], and needs
// deduplication, which remembers its success for the next attempt.
//
// # Answer at once, work later
//
// [Queued] puts an [Inbox] between the server and the function: a message is stored,
// acknowledged and handled afterwards, with a deadline, retries with backoff and
// dead letters, however long the function takes. The store is that of package
// outbox, in a table or file of its own; several processes may share it.
//
//	inbox, err := delivery.NewInbox(store, delivery.InboxOptions{})
//	...
//	handler := delivery.Queued(inbox, bill, delivery.WithConsumer(orders))
//	...
//	err = inbox.Start(ctx) // and inbox.Stop(ctx) in the end
//
// Copies are told apart as below, by a key in the store. The function may be called
// more than once for a message, as after a crash, unless [DoneTx] makes the removal
// of the message a part of the function's transaction. What a function discards
// ([Discard]) becomes dead at once.
//
// # Duplicates
//
// Messages are delivered at least once. With [WithDeduplication] copies of a
// message are told apart: one copy is handled at a time, and none after one
// was handled with success. Copies have the same message_id, an attribute or
// metadata, which publishers add by [core.WithMessageID]; without it the server's
// message-id and the body are compared, which finds the server's own retries, but
// not copies that came by a publisher's retry or by recovery.
//
// A success is remembered for a day by default, which is longer than any pause
// between the server's first 80 attempts. A copy that comes while another is
// being handled gets 409 at once, because waiting would hold one of the
// server's connections; it comes again later.
//
// A failure releases the message at once, and a crash when the lease ends, one
// minute by default. The function's context ends with the lease. One that goes
// on after that can run beside a copy; [DoneTx] closes that gap, for
// effects in the database of the deduplicator: it makes remembering the
// message a part of the function's own transaction, which fails if a copy has
// taken over. The effect then happens exactly once.
//
// # Order
//
// The server keeps no order: consumers get messages side by side, and one that
// failed comes again after those that were published later. With [WithLatest] a
// message is skipped if a newer one of the same key was handled. It needs a
// version in the message that grows, such as a revision or a time, and fits
// messages that carry the whole state of something, not those whose effects add
// up.
//
// # Observing
//
// [WithObserver] and [InboxOptions].Observer report what becomes of each message.
// otelpo.DeliveryObserver makes metrics and traces of it.
//
// # Stores
//
// [NewMemory] remembers in the process: enough for one instance, as long as
// it lives. The package sqldedup remembers in a table, for all instances.
package delivery
