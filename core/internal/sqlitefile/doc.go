// Package sqlitefile creates and opens SQLite files by their path, and tells
// why one cannot be used.
package sqlitefile
