package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

func TestNewArguments(t *testing.T) {
	db := openSQLite(t, sqliteFile(t))
	for name, make := range map[string]func() (*Store, error){
		"db":             func() (*Store, error) { return New(nil, SQLite) },
		"dialect":        func() (*Store, error) { return New(db, 0) },
		"Dialect(4)":     func() (*Store, error) { return New(db, 4) },
		"WithMaxRecords": func() (*Store, error) { return New(db, SQLite, WithMaxRecords(-1)) },
		"WithMaxBytes":   func() (*Store, error) { return New(db, SQLite, WithMaxBytes(-1)) },
		"table":          func() (*Store, error) { return New(db, SQLite, WithTable("")) },
	} {
		store, err := make()
		assert.Nil(t, store, name)
		require.ErrorIs(t, err, outbox.ErrInvalid, name)
		assert.ErrorContains(t, err, name)
	}
}

func TestTableNames(t *testing.T) {
	for _, name := range []string{"a", "Outbox", "_x9", "app.outbox", strings.Repeat("a", 58)} {
		_, err := parseTable(Postgres, name)
		require.NoError(t, err, name)
	}
	for _, name := range []string{"", ".", "a.", ".a", "a.b.c", "9a", "a b", `a"b`, "a`b", "a'b", "a;b", "a-b", "ą", "a\x00", "a\n", strings.Repeat("a", 59)} {
		for _, dialect := range []Dialect{Postgres, MySQL, SQLite} {
			_, err := Schema(dialect, "x"+name+".")
			require.ErrorIs(t, err, outbox.ErrInvalid, name)
			_, err = New(openSQLite(t, sqliteFile(t)), dialect, WithTable(name))
			require.ErrorIs(t, err, outbox.ErrInvalid, name)
			assert.ErrorContains(t, err, "table is")
		}
	}
}

func TestSchemaNames(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		want    []string
	}{
		{Postgres, []string{
			`CREATE TABLE IF NOT EXISTS "app"."box" (`,
			`CREATE INDEX IF NOT EXISTS "box_due" ON "app"."box" (due_at, id) WHERE state <> 1`,
			`CREATE INDEX IF NOT EXISTS "box_dead" ON "app"."box" (id) WHERE state = 1`,
		}},
		{MySQL, []string{"CREATE TABLE IF NOT EXISTS `app`.`box` (", "KEY `box_due` (state, due_at, id)"}},
		{SQLite, []string{
			`CREATE TABLE IF NOT EXISTS "app"."box" (`,
			`CREATE INDEX IF NOT EXISTS "app"."box_due" ON "box" (due_at, id) WHERE state = 0`,
			`CREATE INDEX IF NOT EXISTS "app"."box_dead" ON "box" (id) WHERE state = 1`,
		}},
	} {
		text, err := Schema(c.dialect, "app.box")
		require.NoError(t, err)
		for _, want := range c.want {
			assert.Contains(t, text, want)
		}
		assert.NotContains(t, text, DefaultTable)
	}
}

// TestFilesAreTheSchema shows that a file can be run as it is, and that it and
// Migrate make the same table.
func TestFilesAreTheSchema(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		db := stand.open(t)
		file, err := fs.ReadFile(Files(), stand.dialect.String()+".sql")
		require.NoError(t, err)
		store, err := New(db, stand.dialect)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, store.table.Create(t.Context(), db, lockKey, string(file)), "again without effect")
		}
		require.NoError(t, store.Check(t.Context()))
		require.NoError(t, store.Insert(t.Context(), 0, message(t)))
		require.NoError(t, Migrate(t.Context(), db, stand.dialect))
		assert.Len(t, stored(t, store), 1, "what is there stays")
	})
}

func TestSchemaOfDefaults(t *testing.T) {
	for _, dialect := range []Dialect{Postgres, MySQL, SQLite} {
		text, err := Schema(dialect, "")
		require.NoError(t, err)
		assert.Contains(t, text, DefaultTable)
	}
	_, err := Schema(7, "")
	require.ErrorIs(t, err, outbox.ErrInvalid)
}

func TestMigrateConcurrently(t *testing.T) {
	onEach(t, append(stands, variants[2]), func(t *testing.T, stand stand) {
		db := stand.open(t)
		for range 3 {
			table := WithTable(freshTable())
			errs := make([]error, 8)
			var group sync.WaitGroup
			for i := range errs {
				group.Go(func() { errs[i] = Migrate(t.Context(), db, stand.dialect, table) })
			}
			group.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
			require.NoError(t, Migrate(t.Context(), db, stand.dialect, table))
		}
	})
}

// TestMigrateAddsIndexes shows that a missing part of an existing table is
// made where the database can.
func TestMigrateAddsIndexes(t *testing.T) {
	for _, stand := range []stand{stands[0], stands[2]} {
		t.Run(stand.name, func(t *testing.T) {
			store := opened(t, stand.open(t), stand.dialect)
			for _, index := range []string{store.table.due(), store.table.dead()} {
				_, err := store.db.ExecContext(t.Context(), "DROP INDEX "+store.table.Qualified(index))
				require.NoError(t, err)
			}
			require.ErrorIs(t, store.Check(t.Context()), ErrSchema)
			require.NoError(t, Migrate(t.Context(), store.db.DB, stand.dialect, WithTable(store.table.String())))
			require.NoError(t, store.Check(t.Context()))
		})
	}
}

func TestQualifiedTables(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		db := stand.open(t)
		schema := "other"
		switch stand.dialect {
		case Postgres:
			run(t, db, `CREATE SCHEMA other`)
		case MySQL:
			schema = freshTable()
			run(t, db, "CREATE DATABASE "+schema)
			t.Cleanup(func() { run(t, db, "DROP DATABASE "+schema) })
		default:
			db.SetMaxOpenConns(1) // an attached file belongs to a connection
			run(t, db, fmt.Sprintf("ATTACH '%s' AS other", sqliteFile(t)))
		}
		store := opened(t, db, stand.dialect, WithTable(schema+".Box"))
		require.NoError(t, store.Insert(t.Context(), 0, message(t), message(t)))
		assert.Len(t, claimed(t, store, 10), 2)
		plain, err := New(db, stand.dialect, WithTable("Box"))
		require.NoError(t, err)
		require.ErrorIs(t, plain.Check(t.Context()), ErrSchema, "it is not in the schema of the connection")
	})
}

// run runs statements.
func run(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, statement := range statements {
		// It also cleans up.
		_, err := db.ExecContext(context.WithoutCancel(tb.Context()), statement)
		require.NoError(tb, err, statement)
	}
}
