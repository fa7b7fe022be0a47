//go:build unix

package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"
	moderncsqlite "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// kind is a store that is tested.
type kind struct {
	// name is the key in the table.
	name string
	// create makes the place of a new, empty store. It skips the test where
	// there cannot be one.
	create func(t *testing.T) string
	// open opens the store in a place, and returns how to close it. The watch
	// of an app, if any, gets to see its commits.
	open func(ctx context.Context, place string, w *watch) (outbox.Store, func() error, error)
	// check looks at the remains in a place when nobody uses it; nil for
	// nothing.
	check func(t *testing.T, place string)
	// file tells that the place is a file of SQLite.
	file bool
	// openDatabase opens the database of the store for a caller; nil where the
	// store has one of its own.
	openDatabase func(place string) (*sql.DB, error)
	// server starts a database server of the test's own, which can be killed;
	// nil where there is none.
	server func(t *testing.T, options ...testdb.Option) *testdb.Server
}

// kinds is the table of stores.
var kinds = func() map[string]kind {
	table := map[string]kind{}
	for _, k := range []kind{embedded(), sqlStoreFile(), postgres(), mariadb()} {
		table[k.name] = k
	}
	return table
}()

// database opens the database of the store for a caller.
func (k kind) database(t *testing.T, place string) *sql.DB {
	t.Helper()
	db, err := k.openDatabase(place)
	require.NoError(t, err)
	return db
}

// own tells that a store is in a database server.
func own(k kind) bool { return k.server != nil }

// eachStore runs a test on every store, or on the ones that fit.
func eachStore(t *testing.T, fits func(kind) bool, test func(t *testing.T, k kind)) {
	t.Helper()
	for name, k := range kinds {
		if fits != nil && !fits(k) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// embedded is the store of package sqlite.
func embedded() kind {
	return kind{
		name:   "sqlite",
		create: func(t *testing.T) string { return filepath.Join(t.TempDir(), "outbox.db") },
		open: func(ctx context.Context, place string, w *watch) (outbox.Store, func() error, error) {
			if w != nil {
				watchCommits(w)
			}
			store, err := sqlite.Open(ctx, place)
			if err != nil {
				return nil, nil, err
			}
			return store, store.Close, nil
		},
		check: checkFile,
		file:  true,
	}
}

// sqlStoreFile is the store of package sqlstore in a file of SQLite.
func sqlStoreFile() kind {
	k := inDatabase("sqlstore-sqlite", sqlstore.SQLite, func(place string) (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+place+
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	})
	k.create = func(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") }
	k.check, k.file = checkFile, true
	return k
}

// postgres is the store of package sqlstore in PostgreSQL.
func postgres() kind {
	k := inDatabase("postgres", sqlstore.Postgres, func(place string) (*sql.DB, error) {
		return sql.Open("pgx", place)
	})
	k.create = func(t *testing.T) string { return testdb.Postgres(t).Create(t) }
	k.server = func(t *testing.T, options ...testdb.Option) *testdb.Server { return testdb.NewPostgres(t, options...) }
	return k
}

// mariadb is the store of package sqlstore in MariaDB.
func mariadb() kind {
	k := inDatabase("mariadb", sqlstore.MySQL, testdb.Open)
	k.create = func(t *testing.T) string { return testdb.MariaDB(t).Create(t) }
	k.server = func(t *testing.T, options ...testdb.Option) *testdb.Server { return testdb.NewMariaDB(t, options...) }
	return k
}

// connections is how many connections an app keeps to its database.
const connections = 20

// inDatabase is the store of package sqlstore in a database.
func inDatabase(name string, dialect sqlstore.Dialect, open func(place string) (*sql.DB, error)) kind {
	return kind{
		name: name,
		open: func(ctx context.Context, place string, w *watch) (outbox.Store, func() error, error) {
			if w != nil && dialect == sqlstore.SQLite {
				watchCommits(w)
			}
			db, err := open(place)
			if err != nil {
				return nil, nil, err
			}
			db.SetMaxOpenConns(connections)
			db.SetMaxIdleConns(connections)
			w.uses(db, dialect)
			store, err := sqlstore.New(db, dialect)
			if err == nil {
				err = sqlstore.Migrate(ctx, db, dialect)
			}
			if err != nil {
				return nil, nil, errors.Join(err, db.Close())
			}
			return store, func() error { return errors.Join(store.Close(), db.Close()) }, nil
		},
		openDatabase: open,
	}
}

// addressIn returns the address of the database server in a place.
func addressIn(place string) string {
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(place)
}

// watchCommits has the watch see the commits of a file of SQLite, whose
// driver takes hooks for the connections of the process: one for changes,
// by which it is known that a transaction inserts, and one for commits.
func watchCommits(w *watch) {
	moderncsqlite.RegisterConnectionHook(func(conn moderncsqlite.ExecQuerierContext, _ string) error {
		hooks := conn.(moderncsqlite.HookRegisterer)
		var inserts atomic.Bool
		hooks.RegisterPreUpdateHook(func(data moderncsqlite.SQLitePreUpdateData) {
			if data.Op == sqliteInsert && strings.Contains(data.TableName, "outbox") {
				inserts.Store(true)
			}
		})
		hooks.RegisterCommitHook(func() int32 {
			if inserts.Swap(false) {
				w.reach(beforeCommit)
			}
			return 0
		})
		return nil
	})
}

// sqliteInsert is SQLITE_INSERT of SQLite's C interface.
const sqliteInsert = 18

// checkFile has SQLite look for damage in a database.
func checkFile(t *testing.T, place string) {
	t.Helper()
	conn, err := new(moderncsqlite.Driver).Open("file:" + place)
	require.NoError(t, err)
	rows, err := conn.(driver.QueryerContext).QueryContext(t.Context(), "PRAGMA integrity_check", nil)
	require.NoError(t, err)
	verdict := make([]driver.Value, 1)
	require.NoError(t, rows.Next(verdict))
	require.Equal(t, "ok", verdict[0])
	require.NoError(t, rows.Close())
	require.NoError(t, conn.Close())
}
