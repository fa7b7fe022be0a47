// Package outboxpage is the page of undelivered messages: what waits in a
// client's outbox, what the server refuses for good, and why, with buttons to
// retry and to discard. An app mounts it where its operators find it.
//
//	err := outboxpage.Mount(client, outboxpage.Options{
//		Authorize: func(r *http.Request) bool { return isOperator(r) },
//	})
//	if err != nil {
//		return err
//	}
//	err = ginpo.Register(app, client, ginpo.Options{}) // now at /postoffice/outbox/
//
// [Handler] is for any other router.
//
// # Who may see it
//
// Payloads may be private, and a discarded message is gone. Every request,
// also one for the style sheet, is put to Options.Authorize first, and gets
// status 403 if that says no, or 401 with Options.Challenge. There is no default.
//
// The page changes something by POST alone, and refuses what another site
// sends (see [net/http.CrossOriginProtection]). Discarding asks again on a page
// of its own. Answers are not to be cached and may load nothing but the page's
// own style sheet, script and icon. Payloads appear in no address and no log; with
// Options.HidePayloads the page does not send them at all.
//
// # What it shows
//
// Counts, what the client did with messages in each minute of the last hour,
// how the server is, the circuit breaker, and what became of the configured
// topics and consumers. The server is asked at most every five seconds and for
// at most a second.
//
// The topics with the most messages are listed with the number of messages in each
// state, if the store is an [outbox.TopicCounter], as all stores of this module are.
// Counting them takes at most five seconds. Counts that took 100 ms or longer, also
// those of all messages, are shown to all viewers for 20 times as long as that, or
// until one of them changes messages; an error is shown for at most 30 seconds.
//
// The list has 50 messages a page by ascending id, and so by age, and can be
// narrowed to a topic and to messages to deliver or dead ones. A message to
// deliver is "waiting" before its first attempt from the outbox, "held" while an
// attempt or the server's rescuer has it, and "retrying" in between.
//
// A page reads its own rows only, and of their payloads what it shows, so that
// it takes as long with 100,000 messages as with 1,000 (BenchmarkList, in the
// embedded store). The counts are the store's: sqlstore reads an index for them,
// and for a list of one topic may pass the rows of all others. Before all messages
// of the list are discarded they are counted, for at most five seconds.
//
// # With and without scripts
//
// The page works in any browser, without scripts. With them the list follows what
// changes, every ten seconds, until a person pauses it, and pauses while messages
// are selected; times are in the zone of who looks at them. Without scripts a link
// has the browser load the list every ten seconds, and times are in
// Options.TimeZone.
//
// # Addresses
//
// All links are relative, so the page also works behind a proxy that puts
// something in front of the path. Without TLS a proxy must pass on the Host of
// the request, by which forms of other sites are told.
package outboxpage
