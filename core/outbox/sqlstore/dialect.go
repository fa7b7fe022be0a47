package sqlstore

import (
	"encoding/hex"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// Dialect is the SQL that a database speaks. The zero Dialect is none.
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

// now is the database's clock in microseconds since 1970. It does not change
// within a statement, so that an index can be searched by it, and does not
// depend on the time zone of the session.
func (d Dialect) now() string { return sqltable.Dialect(d).Now("statement_timestamp()") }

// pending is the condition of the index for claims. On PostgreSQL it is the one
// that a planner without statistics expects to let most rows through: if it
// expected few, it would read and sort all that are due instead of walking
// along the index.
func (d Dialect) pending() string {
	if d == Postgres {
		return "state <> 1"
	}
	return "state = 0"
}

// filter returns a condition on a column that is to filter what an index has
// found by another. SQLite, if its statistics are out of date, may otherwise
// read all that is pending to find a few IDs; a plus before the column keeps it
// from looking for an index.
func (d Dialect) filter(condition string) string {
	if d == SQLite {
		return "+" + condition
	}
	return condition
}

// integer is the name of the 64-bit type in a cast.
func (d Dialect) integer() string {
	if d == MySQL {
		return "SIGNED"
	}
	return "bigint"
}

// length is how many bytes a column of bytes has.
func (d Dialect) length(column string) string {
	if d == SQLite {
		return "length(" + column + ")"
	}
	return "octet_length(" + column + ")"
}

// text returns a literal of a string.
//
// All statements but inserts, and queries of PostgreSQL, carry their values as
// literals. So each is one round trip with any driver and goes through any
// pooler, and PostgreSQL plans it for the table as it is now: a plan prepared
// while the table was empty would read all of it later. What is not plain is
// written in hexadecimal, so that no setting of the server can make it anything
// but a string; SQLite has no such settings.
func (d Dialect) text(s string) string {
	if plain(s) {
		return "'" + s + "'"
	}
	if d == SQLite && strings.IndexByte(s, 0) < 0 {
		// Bytes would be read by the file's encoding, which may be UTF-16.
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

// plain reports whether a string has nothing that a quoted literal could
// misread.
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

// texts returns literals of strings, separated by commas.
func (d Dialect) texts(list []string) string {
	literals := make([]string, len(list))
	for i, s := range list {
		literals[i] = d.text(s)
	}
	return strings.Join(literals, ", ")
}

// words returns a literal of a string for people to read, for a column that
// has a character set.
func (d Dialect) words(s string) string {
	if d == MySQL {
		return "CONVERT(" + d.text(s) + " USING utf8mb4)"
	}
	return d.text(s)
}

// name returns the argument of a parameter for a name. A driver of MySQL that
// writes it into the statement marks bytes as bytes, so that the character set
// of the connection does not matter.
func (d Dialect) name(s string) any {
	if d == MySQL {
		return []byte(s)
	}
	return s
}

// wordsParameter is a parameter, and wordsArgument its argument, for a column
// that has a character set. MySQL reads text by the character set of the
// connection, so it gets hexadecimal digits, which all of them have.
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

// begin is the statement that begins a transaction. BEGIN begins a block of a
// program where MariaDB has the SQL mode ORACLE, and SQLite has nothing else.
func (d Dialect) begin() string {
	if d == MySQL {
		return "START TRANSACTION"
	}
	return "BEGIN"
}
