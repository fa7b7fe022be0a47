package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
)

// Failure is the kind of a database error.
type Failure int

const (
	// Other failures are returned to the caller.
	Other Failure = iota
	// Conflict means that the database has undone the statement and its transaction,
	// and that the same statement may succeed now: a deadlock, a serialization
	// failure, a lock timeout, or a table that was altered.
	Conflict
	// Busy means that SQLite's file is locked by another connection.
	Busy
	// NoTable means that the table or one of its columns is missing.
	NoTable
	// TooLarge means that the statement is larger than the server or the driver
	// accepts.
	TooLarge
	// BadText means that the database cannot store a text in its character set.
	BadText
	// Unprepared means that a prepared statement is unknown or exists already on the
	// connection, as with a pooler that assigns a connection to each transaction.
	Unprepared
	// Unfit means that the connection's server accepts no changes, or no statements
	// at all: it is read-only or a standby, starting, shutting down, or without a
	// quorum. Another connection may lead to a different server.
	Unfit
	// Lost means that there is no connection, or that it broke, so that the outcome
	// of a statement may be unknown.
	Lost
)

// postgresFailures are the kinds of PostgreSQL's SQLSTATEs. The class of conflicts
// also has 40002, the violation of a constraint, and 40003, after which the outcome
// of the statement is unknown: they are left out.
var postgresFailures = map[string]Failure{
	"40000": Conflict,   // transaction_rollback
	"40001": Conflict,   // serialization_failure
	"40P01": Conflict,   // deadlock_detected
	"55P03": Conflict,   // lock_not_available: lock_timeout
	"42P01": NoTable,    // undefined_table
	"42703": NoTable,    // undefined_column
	"3F000": NoTable,    // invalid_schema_name
	"54000": TooLarge,   // program_limit_exceeded
	"22P05": BadText,    // untranslatable_character
	"22021": BadText,    // character_not_in_repertoire
	"42P05": Unprepared, // duplicate_prepared_statement
	"26000": Unprepared, // invalid_sql_statement_name
	"25006": Unfit,      // read_only_sql_transaction

	"57P01": Unfit, // admin_shutdown
	"57P02": Unfit, // crash_shutdown
	"57P03": Unfit, // cannot_connect_now: starts, ends, or recovers
	"57P05": Lost,  // idle_session_timeout
	"53300": Lost,  // too_many_connections
}

// postgresConnection is the prefix of SQLSTATEs of failed connections.
const postgresConnection = "08"

// postgresTexts identify errors of PostgreSQL drivers without an SQLSTATE.
var postgresTexts = map[string]Failure{
	"ValidateConnect failed": Unfit, // pgx: the server does not match target_session_attrs
	"conn closed":            Lost,  // pgx
}

// alteredPostgres distinguishes a statement whose table was altered after it was
// prepared from other features that PostgreSQL does not support. pgx prepares it
// again next time.
const alteredPostgres = "cached plan must not change result type"

// mysqlFailures are the kinds of the error numbers of MySQL and MariaDB.
var mysqlFailures = map[string]Failure{
	"1213": Conflict, // deadlock
	"1205": Conflict, // lock wait timeout
	"1689": Conflict, // a wait for a lock gave way to an exclusive lock
	"1020": Conflict, // MariaDB: a row changed since the snapshot
	"1412": Conflict, // the table was altered since the snapshot
	"1615": Conflict, // the table was altered since the statement was prepared
	"3101": Conflict, // group replication: another member was first
	"1146": NoTable,  // table
	"1054": NoTable,  // column
	"1176": NoTable,  // index
	"1153": TooLarge, // max_allowed_packet
	"1366": BadText,  // incorrect string value
	"1300": BadText,  // invalid character string
	"1267": BadText,  // illegal mix of collations
	"1270": BadText,  // the same, of three
	"1271": BadText,  // the same, of more
	"3854": BadText,  // no conversion between two character sets
	"3988": BadText,  // the same, for a parameter

	"1290": Unfit, // read_only
	"1792": Unfit, // a read-only transaction
	"1836": Unfit, // innodb_read_only
	"1047": Unfit, // Galera: no quorum, or not in step yet
	"1180": Unfit, // Galera: no quorum any more, at COMMIT
	"1053": Unfit, // shutdown
	"3032": Unfit, // offline_mode
	"1927": Lost,  // MariaDB: the connection was killed
	"3169": Lost,  // MySQL: the same
	"4031": Lost,  // the connection was idle for too long
	"1152": Lost,  // aborted
	"1184": Lost,  // the same
	"1158": Lost,  // the network, and the next three
	"1159": Lost,
	"1160": Lost,
	"1161": Lost,
	"1040": Lost, // too many connections
	"1203": Lost, // the same, of a user
}

// mysqlTexts identify errors of MySQL, MariaDB and their driver without an error
// number.
var mysqlTexts = map[string]Failure{
	"packet for query is too large":                                 TooLarge, // the driver, before it sends
	"Parameter of prepared statement which is set through mysql_se": TooLarge, // parameters are sent one by one
	"invalid connection":                                            Lost,     // the driver
}

// Classify returns the kind of an error without knowing the drivers' types: errors
// of PostgreSQL drivers have a method SQLState, the errors of modernc's SQLite a method
// Code, and the errors of MySQL begin with the number.
func (d Dialect) Classify(err error) Failure {
	if err == nil {
		return Other
	}
	if _, unfit := errors.AsType[unfitError](err); unfit {
		return Unfit
	}
	failure := Other
	switch d {
	case Postgres:
		failure = classifyPostgres(err)
	case MySQL:
		failure = classifyMySQL(err)
	case SQLite:
		failure = classifySQLite(err)
	}
	if failure == Other && broken(err) {
		return Lost
	}
	return failure
}

// outOfStep reports whether an error may mean that a node of a Galera cluster is not
// in step with the others: a statement that waits for that, by wsrep_sync_wait, then
// fails like one that waits for a lock.
func (d Dialect) outOfStep(err error) bool {
	return d == MySQL && err != nil && slices.Contains(numbers(err), "1205")
}

// Deadlocked reports whether MySQL has chosen the transaction as the victim of a
// conflict: also at COMMIT, in favour of one that another node of a cluster has
// committed.
func (d Dialect) Deadlocked(err error) bool {
	return d == MySQL && err != nil && slices.Contains(numbers(err), "1213")
}

// unfitError marks a connection that the store itself has found unfit.
type unfitError struct{ error }

func (e unfitError) Unwrap() error { return e.error }

// broken reports whether an error is that of the connection, and not of the context.
func broken(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	for _, known := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, known) {
			return true
		}
	}
	_, network := errors.AsType[*net.OpError](err)
	return network
}

func classifyPostgres(err error) Failure {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		switch code := state.SQLState(); {
		case code == "0A000" && strings.Contains(err.Error(), alteredPostgres):
			return Conflict
		case strings.HasPrefix(code, postgresConnection):
			return Lost
		default:
			return postgresFailures[code]
		}
	}
	return byText(postgresTexts, err)
}

func classifyMySQL(err error) Failure {
	for _, number := range numbers(err) {
		if failure, ok := mysqlFailures[number]; ok {
			return failure
		}
	}
	return byText(mysqlTexts, err)
}

// byText searches an error for a known text.
func byText(texts map[string]Failure, err error) Failure {
	for text, failure := range texts {
		if strings.Contains(err.Error(), text) {
			return failure
		}
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

// sqliteFailures are the kinds of SQLite's result codes.
var sqliteFailures = map[int]Failure{
	5:  Busy,     // SQLITE_BUSY
	6:  Busy,     // SQLITE_LOCKED
	15: Conflict, // SQLITE_PROTOCOL: a race between connections that open the write-ahead log
	17: Conflict, // SQLITE_SCHEMA: the schema changed again and again
	18: TooLarge, // SQLITE_TOOBIG
}

// sqliteTexts identify errors of SQLite whose driver returns no code or a generic
// one.
var sqliteTexts = map[string]Failure{
	"database is locked":          Busy,
	"database table is locked":    Busy,
	"database schema is locked":   Busy,
	"database schema has changed": Conflict,
	"locking protocol":            Conflict,
	"string or blob too big":      TooLarge,
	"no such table":               NoTable,
	"no such column":              NoTable,
	"has no column named":         NoTable,
	"no such index":               NoTable,
	"unknown database":            NoTable,
}

func classifySQLite(err error) Failure {
	var code interface{ Code() int }
	if errors.As(err, &code) {
		// The low byte is the primary result code.
		if failure, ok := sqliteFailures[code.Code()&0xff]; ok {
			return failure
		}
	}
	return byText(sqliteTexts, err)
}
