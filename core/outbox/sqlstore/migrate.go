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
	// lockKey is the advisory lock of migrations on PostgreSQL: "postoffi" in ASCII.
	lockKey int64 = 0x706f73746f666669
	// lockTime is how long a change of the table waits for the transactions that use
	// it: all inserts wait behind it. MySQL counts seconds.
	lockTime      = 300 * time.Millisecond
	lockTimeMySQL = time.Second
	// lockPause is how long others can use the table before the change is tried
	// again.
	lockPause = time.Second
	// lockPoll is the interval of attempts to get the advisory lock.
	lockPoll = 50 * time.Millisecond
)

// Migrate creates the table and its indexes if they are missing, upgrades a table of
// an older version to [SchemaVersion], and then checks it like [Store.Probe]. It
// does not change what exists already. Several processes can run it at the same
// time. The only option that it needs is [WithTable].
//
// The table stays in use during an upgrade, also by older releases. PostgreSQL
// (CREATE INDEX CONCURRENTLY) and MySQL (online DDL) build indexes while rows are
// inserted. A change that needs an exclusive lock waits for other transactions for
// at most 0.3 s, or 1 s on MySQL, and is tried again a second later, until the
// context ends. A transaction that stays open therefore delays Migrate, but does not
// block others. On SQLite, building an index blocks all other writes. After an
// interruption, the next Migrate continues the upgrade.
//
// Migrate needs the right to create tables, which the store itself does not, and to
// alter a table of an older version: the owner of the table has it on PostgreSQL;
// MySQL needs ALTER and INDEX. On PostgreSQL, an upgrade does not work through a
// pooler that assigns a connection to each transaction.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) error {
	s, err := New(db, dialect, options...)
	if err != nil {
		return err
	}
	if err := s.do(ctx, "migrate", func() error { return s.migrate(ctx) }); err != nil {
		return s.hint(ctx, err)
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
			return s.create(ctx) // creates indexes of version 1
		case slices.Equal(problems, after) && !s.locked(failed):
			return failed
		}
		// Another process is upgrading, or a transaction uses the table.
		if err := pause(ctx, lockPause, failed); err != nil {
			return err
		}
	}
}

// create creates the missing parts.
func (s *Store) create(ctx context.Context) error {
	text, err := s.table.DDL(Files(), DefaultTable)
	if err != nil {
		return err
	}
	if s.dialect == Postgres {
		return s.transact(ctx, func(tx *sql.Conn) error { return s.table.Create(ctx, tx, lockKey, text) })
	}
	// MySQL's statement is single and atomic; SQLite's have no effect when repeated.
	return s.table.Create(ctx, s.db, lockKey, text)
}

// upgrade brings a table from version 1 to version 2, on its own connection.
func (s *Store) upgrade(ctx context.Context, found layout) error {
	text, err := s.table.DDLOf(Files(), s.dialect.String()+"_1_2.sql", DefaultTable)
	if err != nil {
		return err
	}
	statements := sqltable.Statements(text)
	if slices.ContainsFunc(found.columns, func(c column) bool { return c.name == "dedup_key" }) && s.dialect != MySQL {
		statements = statements[1:] // without the one that adds the column
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fails only where it is closed
	switch s.dialect {
	case Postgres:
		defer discard(conn) // together with its lock and settings
		return s.upgradePostgres(ctx, conn, statements)
	case MySQL:
		defer discard(conn)
		statements = append([]string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", int(lockTimeMySQL.Seconds()))}, statements...)
	}
	return execAll(ctx, conn, statements...)
}

// upgradePostgres runs the statements under a session lock, because the ones that
// create indexes cannot run in a transaction. It polls for the lock, because a
// session that waits for it would look like a transaction that CREATE INDEX
// CONCURRENTLY has to wait for.
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
		limit := time.Duration(0) // creating or dropping an index blocks nobody while it waits
		if strings.HasPrefix(statement, "ALTER TABLE") {
			limit = lockTime
		}
		if err := execAll(ctx, conn, fmt.Sprintf("SET lock_timeout = %d", limit.Milliseconds()), statement); err != nil {
			return err
		}
	}
	return nil
}

// brokenIndexes returns the statements that drop the remains of interrupted index
// builds. The caller has the lock, so no build is in progress.
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

// execAll runs statements one after another.
func execAll(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// locked reports whether a statement did not get its lock in time.
func (s *Store) locked(err error) bool { return s.table.Classify(err) == sqltable.Conflict }

// pause waits. If the context ends, it returns the context's error together with the
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
