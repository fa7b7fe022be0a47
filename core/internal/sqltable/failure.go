package sqltable

import (
	"errors"
	"strings"
)

// Failure is what kind of failure an error of the database is.
type Failure int

const (
	// Other failures are the caller's.
	Other Failure = iota
	// Conflict means that the database chose this transaction to give way.
	Conflict
	// Busy means that SQLite's file is locked by another connection.
	Busy
	// NoTable means that the table or one of its columns is missing.
	NoTable
)

// Classify tells the kind of an error without knowing the drivers' types:
// those for PostgreSQL have a method SQLState, modernc's for SQLite a method
// Code, and that for MySQL begins its text with the number.
func (d Dialect) Classify(err error) Failure {
	switch d {
	case Postgres:
		var state interface{ SQLState() string }
		if errors.As(err, &state) {
			switch state.SQLState() {
			case "40001", "40P01":
				return Conflict
			case "42P01", "42703", "3F000":
				return NoTable
			}
		}
	case MySQL:
		for _, number := range numbers(err) {
			switch number {
			// Deadlock; lock wait timeout; a row changed since a snapshot.
			case "1213", "1205", "1020":
				return Conflict
			case "1146", "1054", "1176":
				return NoTable
			}
		}
	case SQLite:
		return classifySQLite(err)
	}
	return Other
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

func classifySQLite(err error) Failure {
	const sqliteBusy, sqliteLocked = 5, 6
	var code interface{ Code() int }
	if errors.As(err, &code) {
		if c := code.Code() & 0xff; c == sqliteBusy || c == sqliteLocked {
			return Busy
		}
	}
	text := err.Error()
	for _, part := range []string{"database is locked", "database table is locked", "database schema is locked"} {
		if strings.Contains(text, part) {
			return Busy
		}
	}
	for _, part := range []string{"no such table", "no such column", "has no column named", "no such index", "unknown database"} {
		if strings.Contains(text, part) {
			return NoTable
		}
	}
	return Other
}
