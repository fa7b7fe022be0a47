package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrSession is documented in package sqlstore, which exports it.
var ErrSession = errors.New("session does not fit")

// Session is the effect of settings of a connection and its server on the statements
// of a store. Each text names the setting and its effect.
type Session struct {
	// Faults keep every store from working: nothing is written or committed.
	Faults []string
	// ReadOnly is set if the connection's server is the fault.
	ReadOnly bool
	// Misread are settings that change statements with empty strings, with texts of
	// all characters, or with lists of IDs.
	Misread []string
	// Suspects may keep a store from working. A trial shows whether they do.
	Suspects []string
}

// Fault returns the error for a connection whose settings have faults, or nil. If
// misread is set, Misread are faults, too.
func (s Session) Fault(misread bool) error {
	faults := s.Faults
	if misread {
		faults = slices.Concat(s.Faults, s.Misread)
	}
	if len(faults) == 0 {
		return nil
	}
	err := fmt.Errorf("%w: %s", ErrSession, strings.Join(faults, "; "))
	if s.ReadOnly {
		return unfitError{err}
	}
	return err
}

// TrialError is the error of a trial with an unexpected result but no database
// error. It says what happened to a record.
type TrialError string

func (e TrialError) Error() string {
	return "a trial record " + string(e) + ": the reason may be a setting of the session, row-level security, a trigger or a rule"
}

// Explain returns an ErrSession with the suspects if settings may be the reason for
// a trial's error.
func (s Session) Explain(err error) error {
	_, strange := errors.AsType[TrialError](err)
	if err == nil || !strange && len(s.Suspects) == 0 {
		return err
	}
	err = fmt.Errorf("%w: %w", ErrSession, err)
	for _, suspect := range s.Suspects {
		err = fmt.Errorf("%w; %s", err, suspect)
	}
	return err
}

// trialPatience is how long a trial waits for a second connection.
const trialPatience = time.Second

// Another returns one more connection of a pool, or nil if the pool has none.
func Another(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	if db.Stats().MaxOpenConnections == 1 {
		return nil, nil
	}
	patient, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	conn, err := db.Conn(patient)
	if err != nil && ctx.Err() == nil && patient.Err() != nil {
		return nil, nil
	}
	return conn, err
}

// Session reads the settings of a connection. rows is the maximum number of rows in
// a query of the store without a limit.
func (t Table) Session(ctx context.Context, db Querier, rows int) (Session, error) {
	switch t.Dialect {
	case Postgres:
		return t.sessionPostgres(ctx, db)
	case MySQL:
		return sessionMySQL(ctx, db, rows)
	default:
		return sessionSQLite(ctx, db)
	}
}

func (t Table) sessionPostgres(ctx context.Context, db Querier) (Session, error) {
	var s Session
	pairs, err := texts(ctx, db, fmt.Sprintf(`SELECT current_setting('transaction_read_only'), current_setting('default_transaction_read_only'),
	CAST(pg_is_in_recovery() AS text), CAST(coalesce(row_security_active(to_regclass('%s')), false) AS text), CAST(current_user AS text),
	current_setting('server_encoding'), current_setting('client_encoding')`, t.SQL()))
	var state interface{ SQLState() string }
	if errors.As(err, &state) && (state.SQLState() == "42883" || state.SQLState() == "42704") {
		return s, nil // a different database without such a function or setting
	}
	if err != nil || len(pairs) == 0 {
		return s, err
	}
	readOnly, byDefault, standby, rowSecurity, user := pairs[0][0], pairs[0][1], pairs[0][2], pairs[0][3], pairs[0][4]
	s.ReadOnly = readOnly == "on"
	switch {
	case standby == "true":
		s.Faults = append(s.Faults, "the server is a standby (pg_is_in_recovery), which is read-only")
	case byDefault == "on":
		s.Faults = append(s.Faults, "default_transaction_read_only is on: transactions are read-only")
	case readOnly == "on":
		s.Faults = append(s.Faults, "transaction_read_only is on: transactions are read-only")
	}
	// Strings in Go are UTF-8. Without conversion they are transferred as bytes.
	if server, client := pairs[0][5], pairs[0][6]; client != "UTF8" && client != "SQL_ASCII" && client != server && server != "SQL_ASCII" {
		s.Misread = append(s.Misread, fmt.Sprintf("client_encoding is %s, not UTF8: texts are converted from and to %s, and some cannot be read", client, server))
	}
	if rowSecurity == "true" {
		s.Suspects = append(s.Suspects, fmt.Sprintf("row-level security is active for the user %q: "+
			"its policies must let the user see, insert, update and delete every row of the table", user))
	}
	return s, nil
}

func sessionMySQL(ctx context.Context, db Querier, rows int) (Session, error) {
	var s Session
	pairs, err := texts(ctx, db, `SHOW VARIABLES WHERE Variable_name IN ('autocommit', 'completion_type', 'sql_mode', 'sql_select_limit',
	'sql_safe_updates', 'tx_read_only', 'transaction_read_only', 'read_only', 'super_read_only', 'innodb_read_only', 'binlog_format')`)
	if err != nil {
		return s, err
	}
	add := func(list *[]string, format string, args ...any) { *list = append(*list, fmt.Sprintf(format, args...)) }
	for _, pair := range pairs {
		name, value := strings.ToLower(pair[0]), strings.ToUpper(pair[1])
		on := value == "ON" || value == "1"
		switch {
		case name == "autocommit" && !on:
			add(&s.Faults, "autocommit is %s: statements are not committed", pair[1])
		case name == "completion_type" && (value == "CHAIN" || value == "1"):
			add(&s.Faults, "completion_type is %s: each COMMIT begins another transaction, whose statements are not committed", pair[1])
		case name == "sql_mode":
			modes := strings.Split(value, ",")
			if slices.Contains(modes, "EMPTY_STRING_IS_NULL") {
				add(&s.Misread, "sql_mode has EMPTY_STRING_IS_NULL: empty strings can be neither stored nor compared")
			}
			if slices.Contains(modes, "ORACLE") {
				add(&s.Suspects, "sql_mode has ORACLE")
			}
		case name == "sql_select_limit":
			if limit, err := strconv.ParseUint(value, 10, 64); err == nil && limit < uint64(rows) {
				add(&s.Misread, "sql_select_limit is %s: queries return too few rows", pair[1])
			}
		case (name == "tx_read_only" || name == "transaction_read_only") && on:
			add(&s.Faults, "%s is ON: transactions are read-only", name)
		case name == "binlog_format" && value == "STATEMENT":
			add(&s.Suspects, "binlog_format is STATEMENT; it must be ROW or MIXED")
		case name == "sql_safe_updates" && on:
			add(&s.Misread, "sql_safe_updates is ON: statements that change rows by a list of IDs are rejected")
		case strings.HasSuffix(name, "read_only") && on:
			add(&s.Suspects, "%s is ON", name)
		}
	}
	return s, nil
}

func sessionSQLite(ctx context.Context, db Querier) (Session, error) {
	var s Session
	pairs, err := texts(ctx, db, "PRAGMA query_only")
	if err == nil && len(pairs) > 0 && pairs[0][0] == "1" {
		s.Faults = append(s.Faults, "PRAGMA query_only is on: the connection is read-only")
	}
	return s, err
}

// texts returns the rows of a query as text.
func texts(ctx context.Context, db Querier, query string) (list [][]string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := rows.Close(); err == nil {
			err = failed
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		row, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}
