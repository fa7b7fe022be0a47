package sqlstore

import (
	"encoding/hex"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// Dialect is the SQL dialect of a database. The zero Dialect is invalid.
type Dialect int

const (
	// Postgres is PostgreSQL 12 or newer.
	Postgres Dialect = Dialect(sqltable.Postgres)
	// MySQL is MySQL 8, and MariaDB 10.6 or newer.
	MySQL Dialect = Dialect(sqltable.MySQL)
	// SQLite is SQLite 3.35 or newer.
	SQLite Dialect = Dialect(sqltable.SQLite)
)

// String returns "postgres", "mysql" or "sqlite".
func (d Dialect) String() string { return sqltable.Dialect(d).String() }

// now returns the database's clock in microseconds since 1970. It is constant within
// a statement, so that an index can be searched by it, and independent of the
// session's time zone.
func (d Dialect) now() string { return sqltable.Dialect(d).Now("statement_timestamp()") }

// pending returns the condition of the index for claims. On PostgreSQL it is written
// so that a planner without statistics expects most rows to match: if it expected
// few, it would read and sort all due rows instead of walking along the index.
func (d Dialect) pending() string {
	if d == Postgres {
		return "state <> 1"
	}
	return "state = 0"
}

// filter marks a condition as a filter for rows that an index has found by another
// column. With outdated statistics, SQLite might otherwise read all pending rows to
// find a few IDs; the plus sign before the column rules out an index.
func (d Dialect) filter(condition string) string {
	if d == SQLite {
		return "+" + condition
	}
	return condition
}

// integer returns the name of the 64-bit type in a cast.
func (d Dialect) integer() string {
	if d == MySQL {
		return "SIGNED"
	}
	return "bigint"
}

// length returns an expression for the length of a binary column in bytes.
func (d Dialect) length(column string) string {
	if d == SQLite {
		return "length(" + column + ")"
	}
	return "octet_length(" + column + ")"
}

// text returns a string literal.
//
// All statements carry their values as literals, except for inserts and the queries
// for PostgreSQL. Each statement is therefore one round trip with any driver, works
// with any pooler, and PostgreSQL plans it for the table as it is now: a plan
// prepared while the table was empty would read the whole table later. Strings that
// are not plain are written in hexadecimal, so that no server setting can change
// their meaning; SQLite has no such settings.
func (d Dialect) text(s string) string {
	if plain(s) {
		return "'" + s + "'"
	}
	if d == SQLite && strings.IndexByte(s, 0) < 0 {
		// SQLite would decode bytes in the file's encoding, which may be UTF-16.
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	code := hex.EncodeToString([]byte(s))
	switch d {
	case Postgres:
		return "convert_from(decode('" + code + "', 'hex'), 'UTF8')"
	case MySQL:
		return "x'" + code + "'"
	default:
		return "CAST(x'" + code + "' AS TEXT)"
	}
}

// plain reports whether a string contains only characters that are safe in a quoted
// literal.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(" -_.:/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// texts returns string literals, separated by commas.
func (d Dialect) texts(list []string) string {
	literals := make([]string, len(list))
	for i, s := range list {
		literals[i] = d.text(s)
	}
	return strings.Join(literals, ", ")
}

// words returns a string literal for a text column with a character set.
func (d Dialect) words(s string) string {
	if d == MySQL {
		return "CONVERT(" + d.text(s) + " USING utf8mb4)"
	}
	return d.text(s)
}

// name returns the argument for a name. On MySQL it is a byte slice: a driver that
// interpolates arguments marks it as binary, so that the connection's character set
// does not matter.
func (d Dialect) name(s string) any {
	if d == MySQL {
		return []byte(s)
	}
	return s
}

// wordsParameter is a parameter for a text column with a character set, and
// wordsArgument its argument. MySQL decodes text in the connection's character set,
// so it gets hexadecimal digits, which exist in every character set.
func (d Dialect) wordsParameter() string {
	if d == MySQL {
		return "CONVERT(UNHEX(?) USING utf8mb4)"
	}
	return "?"
}

func (d Dialect) wordsArgument(s string) string {
	if d == MySQL {
		return hex.EncodeToString([]byte(s))
	}
	return s
}

// begin returns the statement that begins a transaction. On MariaDB with the SQL
// mode ORACLE, BEGIN begins a program block; SQLite supports BEGIN only.
func (d Dialect) begin() string {
	if d == MySQL {
		return "START TRANSACTION"
	}
	return "BEGIN"
}
