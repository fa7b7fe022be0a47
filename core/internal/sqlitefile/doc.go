// Package sqlitefile creates and opens SQLite files by their path, and explains why
// a file cannot be used.
package sqlitefile
