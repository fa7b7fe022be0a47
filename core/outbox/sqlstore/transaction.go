package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// rollbackTime bounds how long a rollback is waited for.
const rollbackTime = time.Second

// transact runs a function in a transaction on a connection, and rolls back if
// the function fails.
//
// The transaction is made of statements, because those end with the context on
// every driver. The Commit and Rollback of a *sql.Tx have no context: with a
// driver that waits for the answer they last for ever where a connection has
// fallen silent.
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
		_ = rollback(ctx, conn) // the connection is gone then, and the transaction with it
		return err
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		discard(conn)
		return err
	}
	return nil
}

// rollback rolls the transaction of a connection back, also after the context
// has ended. The pool does not use a connection again on which that fails.
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
		// Without locks on the gaps between rows, which would hold up inserts.
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

// discard closes a connection of which it is not known whether it is in a
// transaction, rather than have the pool use it again.
func discard(conn *sql.Conn) { sqltable.Discard(conn) }
