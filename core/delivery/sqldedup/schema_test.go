package sqldedup_test

import (
	"context"
	"database/sql"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

func TestMissingTable(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		store, err := sqldedup.New(db, stand.dialect)
		require.NoError(t, err)
		err = store.Check(t.Context())
		require.ErrorIs(t, err, sqldedup.ErrSchema)
		require.ErrorContains(t, err, sqldedup.DefaultTable)
		require.ErrorContains(t, err, "Migrate")
		_, _, err = store.Begin(t.Context(), "key", time.Hour)
		require.ErrorContains(t, err, sqldedup.DefaultTable)
	})
}

// TestMigrateAtTheSameTime has instances of an app start together.
func TestMigrateAtTheSameTime(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { assert.NoError(t, sqldedup.Migrate(t.Context(), db, stand.dialect)) })
		}
		all.Wait()
		store, err := sqldedup.New(db, stand.dialect)
		require.NoError(t, err)
		state, _, err := store.Begin(t.Context(), "key", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, delivery.Begun, state)
		require.NoError(t, sqldedup.Migrate(t.Context(), db, stand.dialect))
		state, _, err = store.Begin(t.Context(), "key", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, delivery.Running, state, "what was there stays")
	})
}

// TestFilesAreTheSchema runs the shipped files as a migration tool does.
func TestFilesAreTheSchema(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		file, err := fs.ReadFile(sqldedup.Files(), stand.dialect.String()+".sql")
		require.NoError(t, err)
		for range 2 {
			for statement := range strings.SplitSeq(string(file), ";\n") {
				if strings.Contains(statement, "CREATE") {
					execute(t, db, statement)
				}
			}
		}
		store, err := sqldedup.New(db, stand.dialect)
		require.NoError(t, err)
		require.NoError(t, store.Check(t.Context()))
	})
}

func TestQualifiedTable(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		schema := map[sqlstore.Dialect]string{sqlstore.Postgres: "Elsewhere", sqlstore.SQLite: "main"}[stand.dialect]
		switch stand.dialect {
		case sqlstore.Postgres:
			execute(t, db, `CREATE SCHEMA "Elsewhere"`)
		case sqlstore.MySQL:
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&schema))
		}
		table := sqldedup.WithTable(schema + ".Handled")
		require.NoError(t, sqldedup.Migrate(t.Context(), db, stand.dialect, table))
		require.NoError(t, sqldedup.Migrate(t.Context(), db, stand.dialect, table))
		store, err := sqldedup.New(db, stand.dialect, table)
		require.NoError(t, err)
		_, token, err := store.Begin(t.Context(), "key", time.Hour)
		require.NoError(t, err)
		require.NoError(t, store.Done(t.Context(), "key", token, time.Hour))
		assert.Equal(t, 1, count(t, db, quoted(stand.dialect, schema)+"."+quoted(stand.dialect, "Handled")))
	})
}

// TestUnfitTables breaks tables in each way.
func TestUnfitTables(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		text, err := sqldedup.Schema(stand.dialect, "")
		require.NoError(t, err)
		table, _, _ := strings.Cut(text[strings.Index(text, "CREATE TABLE"):], ";\n")
		for name, broken := range map[string]struct{ statement, says string }{
			"no token": {strings.Replace(table, "token ", "other ", 1), "token"},
			"no key":   {strings.NewReplacer("NOT NULL PRIMARY KEY", "NOT NULL", "PRIMARY KEY (id)", "KEY other (id)").Replace(table), "primary key"},
			"engine":   {strings.Replace(table, "InnoDB", "MyISAM", 1), "MyISAM"},
		} {
			if broken.statement == table {
				continue // has no engines
			}
			t.Run(name, func(t *testing.T) {
				execute(t, db, broken.statement)
				defer execute(t, db, "DROP TABLE postoffice_handled")
				store, err := sqldedup.New(db, stand.dialect)
				require.NoError(t, err)
				err = store.Check(t.Context())
				require.ErrorIs(t, err, sqldedup.ErrSchema)
				require.ErrorContains(t, err, broken.says)
			})
		}
	})
}

// TestReadOnly has Check see what it may not do.
func TestReadOnly(t *testing.T) {
	stand := stands[0]
	db := stand.open(t)
	store, table := opened(t, db, stand.dialect)
	require.NoError(t, store.Check(t.Context()))
	db.SetMaxOpenConns(1)
	for right, says := range map[string]string{"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted", "SELECT": "read"} {
		execute(t, db, `CREATE ROLE reader_`+right)
		for _, other := range []string{"INSERT", "UPDATE", "DELETE", "SELECT"} {
			if other != right {
				execute(t, db, "GRANT "+other+" ON "+quoted(stand.dialect, table)+" TO reader_"+right)
			}
		}
		execute(t, db, "SET ROLE reader_"+right)
		err := store.Check(t.Context())
		execute(t, db, "RESET ROLE")
		require.ErrorContains(t, err, says)
		execute(t, db, "DROP OWNED BY reader_"+right)
		execute(t, db, "DROP ROLE reader_"+right)
	}
}

func TestEndedContext(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		store, _ := opened(t, db, stand.dialect)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, store.Check(ctx), context.Canceled)
		require.NotErrorIs(t, store.Check(ctx), sqldedup.ErrSchema)
		_, err := store.Prune(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, db.Close())
		err = store.Check(t.Context())
		require.Error(t, err)
		require.NotErrorIs(t, err, sqldedup.ErrSchema, "the table may be well")
	})
}

// TestSQLiteInMemory has Check explain why a table that was created is missing.
func TestSQLiteInMemory(t *testing.T) {
	db := connect(t, "sqlite", ":memory:")
	assert.ErrorContains(t, sqldedup.Migrate(t.Context(), db, sqlstore.SQLite), "each connection has a database of its own")
}
