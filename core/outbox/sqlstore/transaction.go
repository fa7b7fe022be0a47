package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// rollbackTime bounds the wait for a rollback.
const rollbackTime = time.Second

// transact runs a function in a transaction on a connection, and rolls back if the
// function fails.
//
// It controls the transaction by statements, because these end with the context on
// every driver. Commit and Rollback of a *sql.Tx have no context: with a driver that
// waits for the answer they block forever on a connection that has gone silent.
func (s *Store) transact(ctx context.Context, run func(*sql.Conn) error) error {
	conn, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fails only where it is closed
	if err := run(conn); err != nil {
		if s.db.Shed(ctx, conn, err) {
			return err
		}
		_ = rollback(ctx, conn) // on failure the connection is closed, and the transaction with it
		return err
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		discard(conn)
		return err
	}
	return nil
}

// rollback rolls back the transaction of a connection, even after the context has
// ended. If that fails, the pool does not use the connection again.
func rollback(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	_, err := conn.ExecContext(ctx, "ROLLBACK")
	if err != nil {
		discard(conn)
	}
	return err
}

// begin begins a transaction on a connection of the pool.
func (s *Store) begin(ctx context.Context) (*sql.Conn, error) {
	conn, err := s.db.Connection(ctx)
	if err != nil {
		return nil, err
	}
	if s.dialect == MySQL {
		// READ COMMITTED takes no gap locks, which would block inserts.
		_, err = conn.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, s.dialect.begin())
	}
	if err != nil {
		discard(conn)
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// discard closes a connection that may be in a transaction, so that the pool does
// not use it again.
func discard(conn *sql.Conn) { sqltable.Discard(conn) }
