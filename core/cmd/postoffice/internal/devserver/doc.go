// Package devserver is the development server of "postoffice dev": the fake
// Postoffice server of package postofficetest as a program, with a page to
// watch and steer it.
//
// The API, everything but the paths below, answers what passes the guard as
// [postofficetest.Server.Handler] does, and delivers, retries and rescues by
// the wall clock. Pubsub consumers are shown, and nothing is sent to them.
//
// # The page
//
// "/" and what begins with "/dev/" is the page: topics, consumers, messages
// and each attempt to deliver one. It lets a person create topics and
// consumers, change, pause and delete consumers, publish a message, retry a
// delivery at once or cancel it, and break the server on purpose: it then fails
// towards the app, and not towards the page. It is rendered here and
// works without JavaScript; with it, it keeps itself up to date.
//
// # Guard
//
// The page shows payloads, and the server calls whatever address a consumer or
// an origin host has. It listens on the loopback interface unless it is told
// otherwise, and whatever it serves, page and API, refuses two things:
//
//   - requests that a browser sends for another site, told by Sec-Fetch-Site
//     and Origin, with 403. Clients of the API send neither, and a link to a
//     page may be followed from anywhere.
//   - requests under a name that a foreign site may have given to this machine
//     (DNS rebinding), with 421. The names that pass are localhost, loopback
//     addresses, the host of [Options.Addr] and [Options.AllowHosts]. A server
//     that listens beyond loopback also answers to IP addresses, to names
//     without a dot, such as those of containers, and to the machine's own.
//
// Passwords in addresses are never shown.
//
// # The file
//
// With [Options.File], what the server holds outlives it, in an SQLite
// database. An answer to the API is given only when what it says is in the
// file, so that it survives a crash of the process; a crash of the machine may
// lose the last moments, and damages nothing. What came by the rescuer is
// written a moment later. After a crash a delivery that was under way is made
// once more.
package devserver
