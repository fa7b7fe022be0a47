// Package sqltable contains the common parts of stores in a table of the caller's
// database: the dialects, the table's name, its creation, and the temporary failures
// of a database.
package sqltable

import "fmt"

// Dialect is the SQL dialect of a database. The zero Dialect is invalid.
type Dialect int

// The dialects are documented in package sqlstore, which exports them.
const (
	Postgres Dialect = iota + 1
	MySQL
	SQLite
)

// String returns the name of the dialect, which is also the name of its schema file.
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

// Validate returns an error that wraps invalid if the dialect is invalid.
func (d Dialect) Validate(invalid error) error {
	if d < Postgres || d > SQLite {
		return fmt.Errorf("%w: dialect is %s; it must be Postgres, MySQL or SQLite", invalid, d)
	}
	return nil
}

// Now returns an expression for the database's clock in microseconds since 1970,
// independent of the session's time zone. PostgreSQL has several clocks: postgres is
// the function to call there.
func (d Dialect) Now(postgres string) string {
	switch d {
	case Postgres:
		return `CAST(extract(epoch FROM ` + postgres + `) * 1000000 AS bigint)`
	case MySQL:
		return `TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6))`
	default:
		// SQLite's clock has a resolution of milliseconds.
		return `(CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)`
	}
}
