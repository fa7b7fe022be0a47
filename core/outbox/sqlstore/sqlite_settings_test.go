package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

func openSettings(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// TestSQLiteWarnings has the settings of connections reported with which
// transactions at the same time fail.
func TestSQLiteWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		pragma  string // run on one connection
		want    []string
	}{
		"none":                    {"", "", []string{"_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)"}},
		"WAL alone":               {"?_pragma=journal_mode(WAL)", "", []string{"_pragma=busy_timeout(5000)"}},
		"timeout alone":           {"?_pragma=busy_timeout(100)", "", []string{"journal mode of the SQLite file is delete"}},
		"both":                    {"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)", "", nil},
		"timeout on one":          {"?_pragma=journal_mode(WAL)", "PRAGMA busy_timeout = 5000", []string{"no busy timeout"}},
		"another mode, on one":    {"?_pragma=busy_timeout(5000)", "PRAGMA journal_mode = TRUNCATE", []string{"journal mode of the SQLite file is"}},
		"WAL, set by a statement": {"?_pragma=busy_timeout(5000)", "PRAGMA journal_mode = WAL", nil},
	} {
		t.Run(name, func(t *testing.T) {
			db := openSettings(t, "file:"+filepath.Join(t.TempDir(), "app.db")+test.options)
			if test.pragma != "" {
				_, err := db.ExecContext(t.Context(), test.pragma)
				require.NoError(t, err)
			}
			require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
			store, err := sqlstore.New(db, sqlstore.SQLite)
			require.NoError(t, err)
			require.NoError(t, store.Check(t.Context()))
			warnings := store.Warnings(t.Context())
			require.Len(t, warnings, len(test.want))
			for i, want := range test.want {
				assert.Contains(t, warnings[i], want)
				assert.Contains(t, warnings[i], "_txlock=immediate", "the whole data source name")
			}
		})
	}
}

// TestSQLiteInMemory has Check explain why a table that was created is missing.
func TestSQLiteInMemory(t *testing.T) {
	t.Run("several connections", func(t *testing.T) {
		db := openSettings(t, ":memory:")
		require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
		store, err := sqlstore.New(db, sqlstore.SQLite)
		require.NoError(t, err)
		err = store.Check(t.Context())
		require.ErrorIs(t, err, sqlstore.ErrSchema)
		assert.ErrorContains(t, err, "each connection has a database of its own")
		assert.ErrorContains(t, err, "SetMaxOpenConns(1)")
	})
	t.Run("one connection", func(t *testing.T) {
		db := openSettings(t, ":memory:?_pragma=busy_timeout(5000)")
		db.SetMaxOpenConns(1)
		store, err := sqlstore.New(db, sqlstore.SQLite)
		require.NoError(t, err)
		err = store.Check(t.Context())
		require.ErrorIs(t, err, sqlstore.ErrSchema)
		assert.NotContains(t, err.Error(), "in memory", "it was not created")
		require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
		require.NoError(t, store.Check(t.Context()))
		assert.Empty(t, store.Warnings(t.Context()))
	})
	t.Run("file", func(t *testing.T) {
		store, err := sqlstore.New(openSettings(t, filepath.Join(t.TempDir(), "app.db")), sqlstore.SQLite)
		require.NoError(t, err)
		err = store.Check(t.Context())
		require.ErrorIs(t, err, sqlstore.ErrSchema)
		assert.NotContains(t, err.Error(), "in memory")
	})
}
