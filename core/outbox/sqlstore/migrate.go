package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

const (
	// lockKey is the advisory lock of migrations on PostgreSQL, "postoffi".
	lockKey int64 = 0x706f73746f666669
	// lockTime is how long a change of the table waits for the transactions that
	// use it, as every insert then waits for the change. MySQL counts seconds.
	lockTime      = 300 * time.Millisecond
	lockTimeMySQL = time.Second
	// lockPause is for how long others have the table to themselves before the
	// change is tried again.
	lockPause = time.Second
	// lockPoll is how often the advisory lock is asked for.
	lockPoll = 50 * time.Millisecond
)

// Migrate creates the table and its indexes where they are missing, brings a
// table of an older version to [SchemaVersion], and then checks it like
// [Store.Probe]. It changes nothing that is there already. Several processes may
// run it at the same time. Of the options it needs only [WithTable].
//
// A table of an older version goes on being used meanwhile, by older releases
// too. PostgreSQL (CREATE INDEX CONCURRENTLY) and MySQL (online DDL) make its
// indexes while rows are inserted. A change that must have the table to itself
// for a moment waits for transactions that have used it no longer than 0.3 s,
// on MySQL 1 s, and is tried again a second later, as long as the context lasts:
// a transaction that stays open keeps Migrate from ending, and nobody else. On
// SQLite nothing else can be written while an index is made. An upgrade that was
// interrupted goes on where it ended when Migrate runs again.
//
// It needs the right to create tables, which the store itself does not, and to
// change a table of an older version: on PostgreSQL its owner has it, on MySQL
// ALTER and INDEX give it. On PostgreSQL that change does not go through a
// pooler that gives each transaction another connection.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) error {
	s, err := New(db, dialect, options...)
	if err != nil {
		return err
	}
	if err := s.do(ctx, "migrate", func() error { return s.migrate(ctx) }); err != nil {
		return err
	}
	return s.Probe(ctx)
}

func (s *Store) migrate(ctx context.Context) error {
	found, err := s.describe(ctx)
	switch {
	case err != nil:
		return err
	case len(found.columns) == 0:
		return s.create(ctx)
	}
	for {
		problems := s.problems(found)
		if len(problems) == 0 {
			return nil
		}
		failed := s.upgrade(ctx, found)
		if found, err = s.describe(ctx); err != nil {
			return err
		}
		switch after := s.problems(found); {
		case failed == nil:
			if len(after) == 0 {
				return nil
			}
			return s.create(ctx) // makes indexes of version 1
		case slices.Equal(problems, after) && !s.locked(failed):
			return failed
		}
		// Another transaction is at it, or has the table.
		if err := pause(ctx, lockPause, failed); err != nil {
			return err
		}
	}
}

// create creates what is missing of the table.
func (s *Store) create(ctx context.Context) error {
	text, err := s.table.DDL(Files(), DefaultTable)
	if err != nil {
		return err
	}
	if s.dialect == Postgres {
		return s.transact(ctx, func(tx *sql.Conn) error { return s.table.Create(ctx, tx, lockKey, text) })
	}
	// MySQL has one statement, which is atomic; those of SQLite have no effect
	// when they are repeated.
	return s.table.Create(ctx, s.db, lockKey, text)
}

// upgrade brings a table of version 1 to version 2, on a connection of its own.
func (s *Store) upgrade(ctx context.Context, found layout) error {
	text, err := s.table.DDLOf(Files(), s.dialect.String()+"_1_2.sql", DefaultTable)
	if err != nil {
		return err
	}
	statements := sqltable.Statements(text)
	if slices.ContainsFunc(found.columns, func(c column) bool { return c.name == "dedup_key" }) && s.dialect != MySQL {
		statements = statements[1:] // the one that adds the column
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fails only where it is closed
	switch s.dialect {
	case Postgres:
		defer discard(conn) // with its lock and settings
		return s.upgradePostgres(ctx, conn, statements)
	case MySQL:
		defer discard(conn)
		statements = append([]string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", int(lockTimeMySQL.Seconds()))}, statements...)
	}
	return execAll(ctx, conn, statements...)
}

// upgradePostgres runs statements, of which those that make indexes cannot be
// part of a transaction: so the lock is that of a session. It is asked for again
// and again, because a session that waits for it would look like a transaction
// that the making of an index has to wait for.
func (s *Store) upgradePostgres(ctx context.Context, conn *sql.Conn, statements []string) error {
	for {
		var mine bool
		if _, err := first(ctx, conn, fmt.Sprintf("SELECT pg_try_advisory_lock(%d)", lockKey), nil, &mine); err != nil {
			return err
		}
		if mine {
			break
		}
		if err := pause(ctx, lockPoll, nil); err != nil {
			return err
		}
	}
	broken, err := s.brokenIndexes(ctx, conn)
	if err != nil {
		return err
	}
	statements = slices.Concat([]string{"SET statement_timeout = 0"}, broken, statements)
	for _, statement := range statements {
		limit := time.Duration(0) // what makes or drops an index stops nobody while it waits
		if strings.HasPrefix(statement, "ALTER TABLE") {
			limit = lockTime
		}
		if err := execAll(ctx, conn, fmt.Sprintf("SET lock_timeout = %d", limit.Milliseconds()), statement); err != nil {
			return err
		}
	}
	return nil
}

// brokenIndexes returns the statements that drop what is left of indexes whose
// making was interrupted. The caller has the lock, so nobody is making them.
func (s *Store) brokenIndexes(ctx context.Context, conn *sql.Conn) ([]string, error) {
	var drops []string
	query := fmt.Sprintf(`SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = to_regclass('%s') AND NOT (i.indisvalid AND i.indisready) AND c.relname IN ('%s', '%s')`,
		s.table.SQL(), s.table.key(), s.table.topic())
	err := each(ctx, conn, query, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		drops = append(drops, "DROP INDEX CONCURRENTLY IF EXISTS "+name)
		return err
	})
	return drops, err
}

// execAll runs statements one after the other.
func execAll(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// locked tells whether a statement did not get its lock in time.
func (s *Store) locked(err error) bool { return s.table.Classify(err) == sqltable.Conflict }

// pause waits for a while. If the context ends, that is the error, with the
// reason for the pause.
func pause(ctx context.Context, d time.Duration, reason error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), reason)
	}
}
