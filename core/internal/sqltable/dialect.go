// Package sqltable has what stores in a table of the caller's database have in
// common: the dialects, the table's name, its creation, and the failures of a
// database that pass.
package sqltable

import "fmt"

// Dialect is the SQL that a database speaks. The zero Dialect is none.
type Dialect int

// The dialects are documented in package sqlstore, which exports them.
const (
	Postgres Dialect = iota + 1
	MySQL
	SQLite
)

// String returns the name of the dialect, which is also that of its schema
// file.
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "postgres"
	case MySQL:
		return "mysql"
	case SQLite:
		return "sqlite"
	default:
		return fmt.Sprintf("Dialect(%d)", int(d))
	}
}

// Validate says that the dialect is none, in an error that is invalid.
func (d Dialect) Validate(invalid error) error {
	if d < Postgres || d > SQLite {
		return fmt.Errorf("%w: dialect is %s; it must be Postgres, MySQL or SQLite", invalid, d)
	}
	return nil
}

// Now is the database's clock in microseconds since 1970, whatever the time
// zone of the session. PostgreSQL has several clocks: postgres is the function
// to call there.
func (d Dialect) Now(postgres string) string {
	switch d {
	case Postgres:
		return `CAST(extract(epoch FROM ` + postgres + `) * 1000000 AS bigint)`
	case MySQL:
		return `TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6))`
	default:
		// SQLite's clock goes in milliseconds.
		return `(CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)`
	}
}
