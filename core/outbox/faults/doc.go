// Package faults holds no code, only tests: the faults that the outbox
// survives. Each test brings one of them about, a killed process, a server
// that is down, an answer that gets lost, and then counts what was accepted,
// what arrived, and what is still stored.
//
//	go test ./core/outbox/faults
//	POSTOFFICE_FAULTS=full go test -timeout 2h ./core/outbox/faults -v
//
// The first is the short form, the second has each fault happen as often as
// README.md says. See there for what is promised and what was measured.
//
// # How it works
//
// The app under test is a process of its own: the test binary, which
// [os/exec] runs again with an environment variable set. It publishes from
// many goroutines, and writes the id of each message to its standard output
// after Publish has returned nil, so that the test knows what was accepted
// also when the app is killed. The fake server runs in the test's process
// and survives.
//
// A message is lost if it was accepted, did not arrive, and is not in the
// store. It is a duplicate if it arrived more than once; those are allowed
// where an answer, or the note of it, can get lost: between the post and the
// deletion of the row.
//
// # Stores
//
// The tests run on every store that survives its process: the embedded one,
// and those in a database, SQLite, PostgreSQL and MariaDB. What needs a
// database server is skipped on a machine that has none.
package faults
