// Package bun has a type that looks like the transaction of
// github.com/uptrace/bun, which this module does not import.
package bun

import "database/sql"

// Tx is a transaction.
type Tx struct{ *sql.Tx }
