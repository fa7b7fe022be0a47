package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// runner runs statements: a *sqltable.Pool or *sql.Conn.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// do runs a call of the store and repeats it where that helps: a number of times
// after a conflict, on another connection if the connection was unusable, and until
// the context ends while SQLite's file is locked. run must be atomic and start from
// scratch each time.
func (s *Store) do(ctx context.Context, what string, run func() error) error {
	if s.closed.Load() {
		return outbox.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.wrap(ctx, what, s.db.Retry(ctx, run))
}

// write is do for a call that changes the table. SQLite has one writer at a time,
// and a connection that waits for the file polls occasionally, so it can starve
// while others come and go. On SQLite, the store's own calls therefore take turns.
func (s *Store) write(ctx context.Context, what string, run func() error) error {
	if s.dialect == SQLite {
		if err := s.turns.hold(ctx); err != nil {
			return s.wrap(ctx, what, err)
		}
		defer s.turns.release()
	}
	return s.do(ctx, what, run)
}

// change runs a statement and returns how many rows it changed.
func change(ctx context.Context, db runner, statement string) (int, error) {
	result, err := db.ExecContext(ctx, statement)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// each runs a query and calls a function for each row.
func each(ctx context.Context, db runner, query string, args []any, row func(scan func(...any) error) error) error {
	return sqltable.Each(ctx, db, query, args, row)
}

// first runs a query for one row and reports whether there was one.
func first(ctx context.Context, db runner, query string, args []any, into ...any) (bool, error) {
	found := false
	err := each(ctx, db, query, args, func(scan func(...any) error) error {
		if found {
			return errors.New("more than one row")
		}
		found = true
		return scan(into...)
	})
	return found && err == nil, err
}
