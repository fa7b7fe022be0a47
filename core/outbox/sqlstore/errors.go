package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// ErrSchema means that the table is not as the store needs it. The error says
// what is missing.
var ErrSchema = errors.New("schema does not fit")

// trouble is what kind of failure an error of the database is.
type trouble int

const (
	// other failures are the caller's.
	other trouble = iota
	// conflict means that the database chose this transaction to give way.
	conflict
	// busy means that SQLite's file is locked by another connection.
	busy
	// noTable means that the table or one of its columns is missing.
	noTable
)

// classify tells the kind of an error without knowing the drivers' types:
// those for PostgreSQL have a method SQLState, modernc's for SQLite a method
// Code, and that for MySQL begins its text with the number.
func classify(dialect Dialect, err error) trouble {
	switch dialect {
	case Postgres:
		var state interface{ SQLState() string }
		if errors.As(err, &state) {
			switch state.SQLState() {
			case "40001", "40P01":
				return conflict
			case "42P01", "42703", "3F000":
				return noTable
			}
		}
	case MySQL:
		for _, number := range numbers(err) {
			switch number {
			// Deadlock; lock wait timeout; a row changed since a snapshot.
			case "1213", "1205", "1020":
				return conflict
			case "1146", "1054", "1176":
				return noTable
			}
		}
	case SQLite:
		return classifySQLite(err)
	}
	return other
}

// numbers returns the numbers of the MySQL errors in a tree of errors.
func numbers(err error) []string {
	var found []string
	for err != nil {
		if text, ok := strings.CutPrefix(err.Error(), "Error "); ok {
			if end := strings.IndexAny(text, " :"); end > 0 {
				found = append(found, text[:end])
			}
		}
		if list, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range list.Unwrap() {
				found = append(found, numbers(one)...)
			}
			return found
		}
		err = errors.Unwrap(err)
	}
	return found
}

func classifySQLite(err error) trouble {
	const sqliteBusy, sqliteLocked = 5, 6
	var code interface{ Code() int }
	if errors.As(err, &code) {
		if c := code.Code() & 0xff; c == sqliteBusy || c == sqliteLocked {
			return busy
		}
	}
	text := err.Error()
	for _, part := range []string{"database is locked", "database table is locked", "database schema is locked"} {
		if strings.Contains(text, part) {
			return busy
		}
	}
	for _, part := range []string{"no such table", "no such column", "no such index", "unknown database"} {
		if strings.Contains(text, part) {
			return noTable
		}
	}
	return other
}

// wrap says what failed. If the context has ended, that is the reason,
// whatever the driver says.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		err = fmt.Errorf("%w while in use", outbox.ErrClosed)
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, ErrSchema):
	case classify(s.dialect, err) == noTable:
		err = fmt.Errorf("%w: table %s: %s: %w", ErrSchema, s.table, remedy, err)
	}
	return fmt.Errorf("outbox/sqlstore: %s: %w", what, err)
}
