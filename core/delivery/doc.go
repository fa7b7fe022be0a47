// Package delivery is the receiving side: it turns a typed function into an
// [net/http.Handler] for the messages that the server posts to a consumer.
//
//	orders := core.Consumer{Topic: "orders", Target: "http://user:secret@billing:8080/consume/orders"}
//	...
//	handler := delivery.Handler(func(ctx context.Context, m delivery.Message[Order]) error {
//		return bill(ctx, m.Payload)
//	}, delivery.WithConsumer(orders))
//	err := ginpo.Consume(router, "/consume/orders", handler)
//
// The adapters' Consume mounts the handler in an app; any other router works, too.
//
// # Answers
//
// The server distinguishes two answers: 2xx acknowledges a message, and all others
// mean failure. After a failure it posts the message again, after 15 s at first and
// after days in the end, a hundred times in 85 days, and then drops it. All
// consumers share the server's 50 connections, so a slow consumer delays the others:
// answer fast, also on failure.
//
//	the function returns nil                     204
//	it returns Discard(err)                      204, reported
//	it returns another error, or panics          500, reported
//	the payload does not fit T, or is not JSON   400, reported; see below
//	a duplicate of a message that was handled    204
//	a duplicate of one that is being handled     409
//	a message older than a handled one           204, with WithLatest
//	the deduplicator fails                       503, reported
//	credentials are missing or wrong             401, reported
//	a method other than POST                     405, reported
//	the body is too large                        413, reported
//	the body is not application/json             415, reported
//
// Problems are reported to the log, each kind of [Problem] once in ten seconds
// together with a count of those left out, and every one to the function of
// [WithOnError]. An answer contains only the kind of problem and, with [WithStrict],
// the name of an unexpected field. A panic with [net/http.ErrAbortHandler] is passed
// on.
//
// # Messages that cannot be decoded
//
// A message that is not JSON or does not fit T fails at every attempt. To
// acknowledge it would lose it silently, so by default it is not acknowledged: the
// server keeps it for 85 days, each attempt costs little and is reported, and a
// consumer that is fixed within this time still gets it. [WithUndecodable] passes
// such a message to a function, which can store it elsewhere, and acknowledges it
// when the function returns nil.
//
// Unless [WithStrict] is set, fields that T does not have are ignored, so that
// publishers can add fields.
//
// # Metadata
//
// A publisher of this module can put attributes into the payload, under the key
// "_postoffice" ([core.MetadataKey]), as an object of strings. The handler removes
// the key and merges the object into the attributes, where [Message], [WithContext]
// and deduplication see it. An attribute takes precedence over metadata of the same
// name; of equal keys the first counts, as on the server. A value that is not an
// object of strings is the publisher's own: it stays in the payload, and nothing is
// merged.
//
// This does not depend on the publisher's settings, so upgrade consumers before
// publishers. This module refuses to publish a payload with the key, so nobody who
// controls a payload can forge a message_id or a trace. Other publishers may not
// refuse it: use [WithoutMetadata] for their messages.
//
// # Numbers
//
// A number for which T specifies no type, in a map[string]any or a field of type any,
// is a [encoding/json.Number] with all its digits. A float64 would silently change
// integers above 2^53. The methods Int64 and Float64 convert it; a T with a field of
// type int64 needs neither.
//
// # Time
//
// The server waits for an answer for the consumer's Timeout, 5 s by default, and
// then hangs up. The function's context ends then, or earlier with [WithTimeout].
// The answer is lost, and the message is posted again, whatever the function has
// done. A function that must finish nevertheless detaches its context with
// [context.WithoutCancel] and needs deduplication, which remembers its success for
// the next attempt.
//
// # Answer at once, work later
//
// [Queued] puts an [Inbox] between the server and the function: a message is stored,
// acknowledged and handled afterwards, with a deadline, retries with backoff and
// dead letters, however long the function takes. The store is one of package outbox,
// with its own table or file; several processes can share it.
//
//	inbox, err := delivery.NewInbox(store, delivery.InboxOptions{})
//	...
//	handler := delivery.Queued(inbox, bill, delivery.WithConsumer(orders))
//	...
//	err = inbox.Start(ctx) // and inbox.Stop(ctx) in the end
//
// An inbox deduplicates as described below, by a key in the store. It may call the
// function more than once for a message, for example after a crash, unless [DoneTx]
// makes the removal of the message part of the function's transaction. A message for
// which the function returns [Discard] becomes dead at once.
//
// # Duplicates
//
// Messages are delivered at least once. [WithDeduplication] recognizes copies of a
// message: one copy is handled at a time, and none after a copy was handled
// successfully. Copies have the same message_id, an attribute or metadata that
// publishers set with [core.WithMessageID]. Without it, the server's message-id and
// the body are compared, which finds the server's own retries, but not copies by a
// publisher's retry or by recovery.
//
// A success is remembered for a day by default, which is longer than any pause
// between the server's first 80 attempts. A copy that arrives while another is being
// handled gets 409 at once, because waiting would occupy one of the server's
// connections; it is posted again later.
//
// A failure releases the message at once, and a crash when the lease ends, one
// minute by default. The function's context ends with the lease. A function that
// continues after that may run concurrently with a copy. [DoneTx] closes that gap
// for effects in the database of the deduplicator: it marks the message as handled
// in the function's own transaction, which fails if a copy has been begun. The
// effect then happens exactly once.
//
// # Order
//
// The server keeps no order: consumers get messages concurrently, and a failed
// message is posted again after later ones. With [WithLatest] a message is skipped
// if a newer one of the same key was handled. It needs a version in the message that
// increases, such as a revision or a time, and fits messages that contain the
// complete state of something, not messages whose effects add up.
//
// # Observing
//
// [WithObserver] and [InboxOptions].Observer report what happens to each message.
// otelpo.DeliveryObserver exports this as metrics and traces.
//
// # Stores
//
// [NewMemory] remembers messages in the process: enough for one instance, until it
// ends. The package sqldedup remembers them in a table, for all instances.
package delivery
