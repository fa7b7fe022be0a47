package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

//go:embed schema/*.sql
var files embed.FS

// Files returns the schema files: postgres.sql, mysql.sql and sqlite.sql, for
// a table of the name [DefaultTable]. They can be run again without effect.
func Files() fs.FS {
	directory, err := fs.Sub(files, "schema")
	if err != nil {
		panic(err) // the name is a constant
	}
	return directory
}

// Schema returns the statements that create the table and its indexes, for a
// migration of the user's. An empty name means [DefaultTable]. They can be run
// again without effect.
//
// The error is [outbox.ErrInvalid] and names the argument.
func Schema(dialect Dialect, name string) (string, error) {
	if err := sqltable.Dialect(dialect).Validate(outbox.ErrInvalid); err != nil {
		return "", err
	}
	if name == "" {
		name = DefaultTable
	}
	t, err := parseTable(dialect, name)
	if err != nil {
		return "", err
	}
	return t.DDL(Files(), DefaultTable)
}

// lockKey is the advisory lock of migrations on PostgreSQL, "postoffi".
const lockKey = 0x706f73746f666669

// Migrate creates the table and its indexes where they are missing, and then
// checks them like [Store.Check]. It changes nothing that is there already.
// Several processes may run it at the same time. Of the options it needs only
// [WithTable].
//
// It needs the right to create tables, which the store itself does not.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) error {
	s, err := New(db, dialect, options...)
	if err != nil {
		return err
	}
	text, err := s.table.DDL(Files(), DefaultTable)
	if err != nil {
		return err
	}
	err = s.do(ctx, "migrate", func() error {
		if dialect == Postgres {
			return s.transact(ctx, func(tx *sql.Conn) error {
				return s.table.Create(ctx, tx, lockKey, text)
			})
		}
		// MySQL has one statement, which is atomic; those of SQLite have no
		// effect when they are repeated.
		return s.table.Create(ctx, db, lockKey, text)
	})
	if err != nil {
		return err
	}
	return s.Check(ctx)
}
