package sqldedup

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

const (
	// trialLease is when the row of a trial is removed like any expired row if the
	// process is killed.
	trialLease = time.Minute
	// trialCleanup bounds the cleanup of a failed trial.
	trialCleanup = time.Second
)

// checkSession finds settings that keep the store from working.
func (s *Store) checkSession(ctx context.Context) (session sqltable.Session, err error) {
	err = s.db.Retry(ctx, func() error {
		return s.db.Use(ctx, func(conn *sql.Conn) error {
			if session, err = s.table.Session(ctx, conn, 1); err != nil {
				return err
			}
			return session.Fault(false)
		})
	})
	return session, err
}

// execer is a *sql.Conn or a *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// try shows that statements have the effect that the store needs; settings of the
// session and the server, row-level security and triggers may change it without an
// error. It begins a row in a transaction that is rolled back, and then begins a row
// on one connection and ends and removes it on another.
func (s *Store) try(ctx context.Context) error {
	return s.db.Use(ctx, func(conn *sql.Conn) error {
		if err := s.rehearse(ctx, conn); err != nil {
			return err
		}
		second, err := sqltable.Another(ctx, s.db.DB)
		switch {
		case err != nil:
			return err
		case second == nil:
			second = conn
		default:
			defer func() { _ = second.Close() }()
		}
		id, token := hash(rand.Text()), hash(rand.Text())
		if err := s.steps(ctx, conn, second, id, token); err != nil {
			s.abandonTrial(ctx, conn, id, token)
			s.db.Shed(ctx, second, err)
			return err
		}
		return nil
	})
}

func (s *Store) rehearse(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = s.steps(ctx, tx, tx, hash(rand.Text()), hash(rand.Text()))
	return errors.Join(err, tx.Rollback())
}

// steps inserts a row on one connection and changes and deletes it on another.
func (s *Store) steps(ctx context.Context, first, second execer, id, token string) error {
	for _, step := range []struct {
		db        execer
		statement string
		what      sqltable.TrialError
	}{
		{first, s.sql.insert(id, token, trialLease), "is not stored by an insert that succeeds"},
		{second, s.sql.done(id, token, trialLease), "that was inserted cannot be updated, or not on another connection"},
		{second, s.sql.remove(id, token), "that was updated cannot be deleted"},
	} {
		result, err := step.db.ExecContext(ctx, step.statement)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(step.what, err)
		}
	}
	return nil
}

// abandonTrial undoes the inserts of a connection, committed or not, and discards
// the connection.
func (s *Store) abandonTrial(ctx context.Context, conn *sql.Conn, id, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trialCleanup)
	defer cancel()
	// A row that stays is removed when its time has ended.
	_, _ = conn.ExecContext(ctx, "ROLLBACK") // of what is not committed
	_, _ = conn.ExecContext(ctx, s.sql.remove(id, token))
	_, _ = conn.ExecContext(ctx, "COMMIT")
	if s.table.Dialect != sqltable.SQLite { // a file may be attached to the connection, or live in its memory
		sqltable.Discard(conn)
	}
}
