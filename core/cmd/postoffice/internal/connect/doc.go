// Package connect makes what a command works with from what the user gave it:
// the settings of flags, environment and settings file, in this order, a client
// of them, and an outbox by its name, which is the path of an SQLite file or the
// URL of a database. Credentials among them are kept out of what people get to
// see.
package connect
