// Package devserver is the development server of "postoffice dev": the fake
// Postoffice server of package postofficetest as a program, with a web page to
// watch and control it.
//
// The API responds like [postofficetest.Server.Handler]. The server delivers,
// retries and runs the rescuer in real time. Messages for Pub/Sub consumers are
// shown but not sent.
//
// # The page
//
// "/" and all paths below "/dev/" are the page; all other paths are the API. The
// page shows topics, consumers, messages and delivery attempts. Users can create
// topics and consumers, change, pause and delete consumers, publish a message,
// retry or cancel a delivery, and make the API fail on purpose, while the page
// still works. The page works without JavaScript; with it, it updates itself.
//
// # Guard
//
// The page shows payloads, and the server sends requests to any address of a
// consumer or an origin host. It therefore listens on the loopback interface by
// default, and the guard refuses two kinds of requests to page and API:
//
//   - Requests that a browser sends for another site, detected by the headers
//     Sec-Fetch-Site and Origin, get 403. Clients of the API do not send these
//     headers. Links from other sites to the page are allowed.
//   - Requests with a host name that another site may have pointed at this
//     machine (DNS rebinding) get 421. Allowed are localhost, loopback addresses,
//     the host of [Options.Addr] and [Options.AllowHosts]. A server that listens
//     on more than loopback also allows IP addresses, names without a dot, such
//     as the names of containers, and the machine's own name.
//
// Passwords in addresses are never shown.
//
// # The file
//
// With [Options.File], the state of the server is kept in an SQLite database. The
// API responds after the effect of a request has been written, so that it survives
// a crash of the process. A crash of the machine may lose the most recent changes,
// but does not damage the file. Messages from the rescuer are written shortly after.
// After a crash, deliveries in progress are repeated.
package devserver
