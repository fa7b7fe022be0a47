// Package outboxpage is a web page for operators that shows the undelivered
// messages in a client's outbox: the messages that wait for delivery, the ones that
// the server rejected permanently, and the errors. Operators can retry and discard
// messages.
//
//	err := outboxpage.Mount(client, outboxpage.Options{
//		Authorize: func(r *http.Request) bool { return isOperator(r) },
//	})
//	if err != nil {
//		return err
//	}
//	err = ginpo.Register(app, client, ginpo.Options{}) // now at /postoffice/outbox/
//
// Use [Handler] with other routers.
//
// # Authorization
//
// Payloads may be private, and discarding deletes a message permanently, so
// Options.Authorize is required. It is called for every request, including the ones
// for the style sheet. Requests that it does not allow get status 403, or 401 if
// Options.Challenge is set.
//
// Only POST requests change messages, and requests from other sites are refused (see
// [net/http.CrossOriginProtection]). Discarding requires a confirmation. Responses
// must not be cached, and their content security policy only allows the page's own
// style sheet, script and icon. Payloads never appear in URLs or logs; with
// Options.HidePayloads the page does not send them at all.
//
// # Contents
//
// The page shows the number of messages in each state, the client's throughput in
// each minute of the last hour, the server's health, the circuit breakers, and
// whether the configured topics and consumers were set up. It checks the server's
// health at most every five seconds, for at most one second.
//
// It lists the topics with the most messages and the number of messages in each
// state, if the store is an [outbox.TopicCounter], as all stores of this module are.
// Counting them takes at most five seconds. Counts that took 100 ms or longer, also
// those of all messages, are shown to all viewers for 20 times as long as that, or
// until one of them changes messages; an error is shown for at most 30 seconds.
//
// The message list has 50 messages per page, ordered by id and therefore by age. It
// can be filtered by topic and by state: to deliver, or dead. A message to deliver is
// "waiting" before its first attempt from the outbox, "held" while an attempt is in
// progress or the server's rescuer has it, and "retrying" between attempts.
//
// A page reads only its own rows, and only the part of their payloads that it shows,
// so that it takes as long with 100,000 messages as with 1,000 (BenchmarkList, with
// the embedded store). The store counts the messages: sqlstore reads an index to
// count, and may scan the rows of all other topics to list one topic. Before all
// messages of a list are discarded, the page counts them, for at most five seconds.
//
// # JavaScript
//
// The page works without JavaScript. With it, the list refreshes every ten seconds,
// except while it is paused or messages are selected, and times are in the viewer's
// time zone. Without it, a link makes the browser reload the list every ten seconds,
// and times are in Options.TimeZone.
//
// # Proxies
//
// All links are relative, so the page also works behind a proxy that adds a prefix to
// the path. Without TLS, the proxy must pass on the Host of the request, which is
// needed to detect forms from other sites.
package outboxpage
