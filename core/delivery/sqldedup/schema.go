package sqldedup

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// ErrSchema means that the table does not have the structure that the store needs.
// The error names the missing part.
var ErrSchema = errors.New("schema does not fit")

// remedy says how to create the schema.
const remedy = "run sqldedup.Migrate or the statements of sqldedup.Schema (schema/*.sql)"

//go:embed schema/*.sql
var files embed.FS

// Files returns the schema files postgres.sql, mysql.sql and sqlite.sql, for a table
// named [DefaultTable]. Running them again has no effect.
func Files() fs.FS {
	directory, err := fs.Sub(files, "schema")
	if err != nil {
		panic(err) // the name is a constant
	}
	return directory
}

// Schema returns the statements that create the table and its index, for your own
// migrations. An empty name means [DefaultTable]. Running them again has no effect.
// The error is [ErrInvalid] and names the argument.
func Schema(dialect sqlstore.Dialect, name string) (string, error) {
	if name == "" {
		name = DefaultTable
	}
	t, err := parseTable(dialect, name)
	if err != nil {
		return "", err
	}
	return t.DDL(Files(), DefaultTable)
}

// lockKey is the advisory lock of migrations on PostgreSQL: "posthand" in ASCII.
const lockKey = 0x706f737468616e64

// Migrate creates the table and its index if they are missing, and then checks them
// like [Store.Check]. It does not change what exists already, and several processes
// can run it at the same time. It needs the right to create tables, which the store
// itself does not.
func Migrate(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect, options ...Option) error {
	s, err := New(db, dialect, options...)
	if err != nil {
		return err
	}
	text, err := s.table.DDL(Files(), DefaultTable)
	if err != nil {
		return err
	}
	if err := s.db.Retry(ctx, func() error { return s.migrate(ctx, text) }); err != nil {
		return s.wrap(ctx, "migrate", err)
	}
	return s.Check(ctx)
}

func (s *Store) migrate(ctx context.Context, text string) error {
	return s.db.Use(ctx, func(conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if err := s.table.Create(ctx, tx, lockKey, text); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// Check reports whether the store works: that the table has the columns and the
// primary key, that rows can be read and written, and that writes on one connection
// are visible to others. Check stores a trial row for this and removes it at once;
// if the process is killed, the row is removed after a minute like any other whose
// time has ended.
//
// The error is [ErrSchema] if the database rejects what the store does, and wraps
// the database's error, for example about a privilege. It is [sqlstore.ErrSession]
// if settings of the session or the server keep the store from working; it names the
// settings. It is a different error if the database does not answer.
func (s *Store) Check(ctx context.Context) error {
	err := s.check(ctx)
	if errors.Is(err, ErrSchema) || s.table.Classify(err) == sqltable.NoTable {
		return s.table.HintMemory(ctx, s.db, err)
	}
	return err
}

func (s *Store) check(ctx context.Context) error {
	session, err := s.checkSession(ctx)
	if err != nil {
		return s.wrap(ctx, "check", err)
	}
	for _, column := range []string{"id", "token", "done", "ends_at"} {
		if err := s.probe(ctx, "SELECT "+column+" FROM "+s.sql.table+" WHERE 1 = 0"); err != nil {
			return s.unfit(ctx, "column "+column+" cannot be read", err)
		}
	}
	// The database checks the privileges and the primary key although the statements
	// match no row. MySQL's sql_safe_updates needs a condition on the key.
	end := " ON CONFLICT (id) DO NOTHING"
	if s.table.Dialect == sqltable.MySQL {
		end = ""
		if err := s.checkMySQL(ctx); err != nil {
			return err
		}
	}
	const columns = "id, token, done, ends_at"
	insert := "INSERT INTO " + s.sql.table + " (" + columns + ") SELECT " + columns + " FROM " + s.sql.table + " WHERE 1 = 0" + end
	if err := s.probe(ctx, insert); err != nil {
		return s.unfit(ctx, "rows cannot be inserted by the primary key (id)", err)
	}
	for _, change := range []struct{ what, statement string }{
		{"updated", "UPDATE " + s.sql.table + " SET token = token, done = done, ends_at = ends_at WHERE id = ''"},
		{"deleted", "DELETE FROM " + s.sql.table + " WHERE id = ''"},
	} {
		if err := s.probe(ctx, change.statement); err != nil {
			return s.unfit(ctx, "rows cannot be "+change.what, err)
		}
	}
	err = s.db.Retry(ctx, func() error { return s.try(ctx) })
	return s.wrap(ctx, "check", session.Explain(err))
}

// checkMySQL checks what statements without rows do not show on MySQL.
func (s *Store) checkMySQL(ctx context.Context) error {
	where := s.table.WhereMySQL()
	var engine sql.NullString
	var keys int
	err := s.first(ctx, `SELECT (SELECT engine FROM information_schema.tables`+where+`), (SELECT COUNT(*) FROM (
SELECT index_name FROM information_schema.statistics`+where+` AND non_unique = 0
GROUP BY index_name HAVING COUNT(*) = 1 AND MAX(column_name) = 'id') AS fitting)`, &engine, &keys)
	switch {
	case err != nil:
		return s.wrap(ctx, "check", err)
	case !strings.EqualFold(engine.String, "InnoDB"):
		return s.wrap(ctx, "check", fmt.Errorf("%w: its engine is %s, not InnoDB: the store needs transactions", ErrSchema, engine.String))
	case keys == 0:
		return s.wrap(ctx, "check", fmt.Errorf("%w: the primary key (id) is missing; %s", ErrSchema, remedy))
	}
	return nil
}

// probe runs a statement that matches no row.
func (s *Store) probe(ctx context.Context, statement string) error {
	return s.db.Retry(ctx, func() error {
		_, err := s.db.ExecContext(ctx, statement)
		return err
	})
}

func (s *Store) unfit(ctx context.Context, what string, err error) error {
	if ctx.Err() == nil && s.db.PingContext(ctx) == nil {
		err = fmt.Errorf("%w: %s: %w; %s", ErrSchema, what, err, remedy)
	}
	return s.wrap(ctx, "check", err)
}
