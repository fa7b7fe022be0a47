// Package connect opens what a command works with: the settings of flags,
// environment and settings file, in this order of precedence, a client with these
// settings, and an outbox by its name, which is the path of an SQLite file or the
// URL of a database. It masks their credentials in output.
package connect
