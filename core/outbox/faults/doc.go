// Package faults contains only tests, of the faults that the outbox survives. Each
// test causes one kind of fault, such as a killed process, an unavailable server or
// a lost answer, and then compares the accepted messages with the messages that arrived and
// the ones that are still stored.
//
//	go test ./core/outbox/faults
//	POSTOFFICE_FAULTS=full go test -timeout 2h ./core/outbox/faults -v
//
// The first command runs the short form. The second repeats each fault as often as
// README.md says, which also lists the promises and the measured results.
//
// # How it works
//
// The app under test is a separate process: the test binary, which [os/exec] runs
// with an environment variable set. It publishes from many goroutines and writes the
// id of each message to its standard output after Publish has returned nil, so that
// the test knows the accepted messages even if the app is killed. The fake server
// runs in the process of the test and survives.
//
// A message is lost if it was accepted, did not arrive, and is not in the store. It
// is a duplicate if it arrived more than once. Duplicates are allowed if an answer,
// or the record of it, can get lost: between the post and the deletion of the row.
//
// # Stores
//
// The tests run on every durable store: the embedded one, and the SQL store on
// SQLite, PostgreSQL and MariaDB. Tests that need a database server are skipped on a
// machine without one.
package faults
