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

// Failure is what kind of failure an error of the database is.
type Failure int

const (
	// Other failures are the caller's.
	Other Failure = iota
	// Conflict means that the database undid the statement and its
	// transaction, and that the same statement may succeed now: a deadlock, a
	// serialization failure, a lock that was not released in time, a table
	// that was altered.
	Conflict
	// Busy means that SQLite's file is locked by another connection.
	Busy
	// NoTable means that the table or one of its columns is missing.
	NoTable
	// TooLarge means that the statement has more bytes than the server or the
	// driver takes.
	TooLarge
	// BadText means that the database cannot keep a text in its character set.
	BadText
	// Unprepared means that a prepared statement is unknown or known already
	// on the connection, as with a pooler that gives each transaction another
	// one.
	Unprepared
	// Unfit means that the server of the connection takes no changes, or nothing
	// at all: it is read-only or a standby, starts, ends, or has no quorum. Another
	// connection may lead to a server that does.
	Unfit
	// Lost means that there is no connection, or that it broke, so that it may not
	// be known what became of a statement.
	Lost
)

// postgresFailures are the kinds of PostgreSQL's SQLSTATEs. Of those for a
// conflict, 40002 and 40003 are left out: the first is a constraint's, and
// with the second it is not known whether the statement took effect.
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

// postgresConnection begins the SQLSTATEs of connections that fail.
const postgresConnection = "08"

// postgresTexts are what tells errors of the drivers for PostgreSQL that have no
// SQLSTATE.
var postgresTexts = map[string]Failure{
	"ValidateConnect failed": Unfit, // pgx, of a server that is not what target_session_attrs asks for
	"conn closed":            Lost,  // pgx
}

// alteredPostgres is what tells that a statement was prepared before its table
// was altered, from other features that PostgreSQL does not support. pgx
// prepares it anew the next time.
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

// mysqlTexts are what tells errors of MySQL, MariaDB and their driver that
// have no number of their own.
var mysqlTexts = map[string]Failure{
	"packet for query is too large":                                 TooLarge, // the driver, before it sends
	"Parameter of prepared statement which is set through mysql_se": TooLarge, // parameters are sent one by one
	"invalid connection":                                            Lost,     // the driver
}

// Classify tells the kind of an error without knowing the drivers' types:
// those for PostgreSQL have a method SQLState, modernc's for SQLite a method
// Code, and that for MySQL begins its text with the number.
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

// outOfStep tells whether an error may mean that a node of a Galera cluster is not
// in step with the others: what waits for that, by wsrep_sync_wait, then fails like
// what waits for a lock.
func (d Dialect) outOfStep(err error) bool {
	return d == MySQL && err != nil && slices.Contains(numbers(err), "1205")
}

// Deadlocked tells whether MySQL chose a transaction to give way to another one,
// which goes on: also at COMMIT, to one that another node of a cluster has committed.
func (d Dialect) Deadlocked(err error) bool {
	return d == MySQL && err != nil && slices.Contains(numbers(err), "1213")
}

// unfitError is what the store itself has found out about a connection.
type unfitError struct{ error }

func (e unfitError) Unwrap() error { return e.error }

// broken tells whether an error is that of a connection, and not of the context
// with which it is used.
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

// byText looks for a text in an error.
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

// sqliteTexts are what tells errors of SQLite whose driver gives no code, or
// whose code is that of any error.
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
