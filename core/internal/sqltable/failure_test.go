package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConflictsEnd shows that a call is not run again for ever.
func TestConflictsEnd(t *testing.T) {
	for dialect, failure := range map[Dialect]error{
		Postgres: stateError("40001"),
		MySQL:    fmt.Errorf("joined: %w", errors.Join(errors.New("x"), errors.New("Error 1205 (HY000): Lock wait timeout exceeded"))),
	} {
		tried := 0
		pool := &Pool{DB: new(sql.DB), Dialect: dialect}
		err := pool.Retry(t.Context(), func() error { tried++; return failure })
		require.ErrorIs(t, err, failure)
		assert.Equal(t, attempts, tried)
		assert.EqualValues(t, attempts, pool.Retries().Conflicts)
		ctx, cancel := context.WithCancel(t.Context())
		err = pool.Retry(ctx, func() error { cancel(); return failure })
		require.ErrorIs(t, err, context.Canceled)
	}
}

type stateError string

func (e stateError) Error() string    { return "conflict" }
func (e stateError) SQLState() string { return string(e) }

type codeError int

func (e codeError) Error() string { return "failure" }
func (e codeError) Code() int     { return int(e) }

// TestClassify tells errors apart that are written in the words of drivers
// which are not here.
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		err     error
		want    Failure
	}{
		{Postgres, fmt.Errorf("x: %w", stateError("40P01")), Conflict},
		{Postgres, stateError("42P01"), NoTable},
		{Postgres, stateError("55P03"), Conflict},
		{Postgres, stateError("22P05"), BadText},
		{Postgres, stateError("42P05"), Unprepared},
		{Postgres, stateError("23505"), Other},
		{Postgres, errors.New("Error 1213"), Other},
		{MySQL, errors.New("Error 1213: Deadlock found when trying to get lock"), Conflict},
		{MySQL, errors.New("Error 1020 (HY000): Record has changed since last read"), Conflict},
		{MySQL, errors.New("Error 1146 (42S02): Table 'a.b' doesn't exist"), NoTable},
		{MySQL, errors.New("Error 1062 (23000): Duplicate entry 'Error 1213 ' for key"), Other},
		{MySQL, errors.New("Error "), Other},
		{MySQL, errors.New("Error 1412 (HY000): Table definition has changed, please retry transaction"), Conflict},
		{MySQL, errors.New("Error 1615 (HY000): Prepared statement needs to be re-prepared"), Conflict},
		{MySQL, errors.New("Error 3101 (HY000): Plugin instructed the server to rollback the current transaction."), Conflict},
		{MySQL, errors.New("Error 1153 (08S01): Got a packet bigger than 'max_allowed_packet' bytes"), TooLarge},
		{MySQL, fmt.Errorf("x: %w", mysql.ErrPktTooLarge), TooLarge},
		{MySQL, errors.New("Error 1366 (22007): Incorrect string value"), BadText},
		{SQLite, errors.New("database is locked"), Busy}, // mattn's text
		{SQLite, errors.New("database table is locked: a"), Busy},
		{SQLite, errors.New("no such table: a"), NoTable},
		{SQLite, codeError(5 | 2<<8), Busy},
		{SQLite, codeError(17), Conflict},
		{SQLite, errors.New("string or blob too big"), TooLarge},
		{Postgres, stateError("25006"), Unfit},
		{Postgres, fmt.Errorf("connecting: %w", stateError("57P03")), Unfit},
		{Postgres, stateError("57P01"), Unfit},
		{Postgres, errors.New("failed to connect to `x`: ValidateConnect failed: read only connection"), Unfit},
		{Postgres, stateError("08006"), Lost},
		{Postgres, stateError("53300"), Lost},
		{Postgres, driver.ErrBadConn, Lost},
		{Postgres, fmt.Errorf("x: %w", io.ErrUnexpectedEOF), Lost},
		{Postgres, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, Lost},
		{Postgres, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, Other}, // it has taken its time
		{Postgres, context.Canceled, Other},
		{MySQL, errors.New("Error 1290 (HY000): The MariaDB server is running with the --read-only option"), Unfit},
		{MySQL, errors.New("Error 1792 (25006): Cannot execute statement in a READ ONLY transaction"), Unfit},
		{MySQL, errors.New("Error 1836 (HY000): Running in read-only mode"), Unfit},
		{MySQL, errors.New("Error 1047 (08S01): WSREP has not yet prepared node for application use"), Unfit},
		{MySQL, errors.New("Error 1180 (HY000): Got error 6 during COMMIT"), Unfit},
		{MySQL, errors.New("Error 1053 (08S01): Server shutdown in progress"), Unfit},
		{MySQL, errors.New("Error 1040 (08004): Too many connections"), Lost},
		{MySQL, mysql.ErrInvalidConn, Lost},
		{SQLite, nil, Other},
		{SQLite, errors.New("UNIQUE constraint failed: a.id"), Other},
	} {
		assert.Equal(t, c.want, c.dialect.Classify(c.err), "%s: %v", c.dialect, c.err)
	}
}
