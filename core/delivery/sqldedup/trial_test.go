package sqldedup_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// TestCheckNamesTheSetting shows that a setting with which the store does not
// work is found at the start, and that a session that Check lets pass works.
func TestCheckNamesTheSetting(t *testing.T) {
	withVariable := func(name, value string) func(t *testing.T) *sql.DB {
		return func(t *testing.T) *sql.DB {
			return connectMySQL(t, func(c *mysql.Config) { c.Params = map[string]string{name: value} })
		}
	}
	for _, c := range []struct {
		name    string
		dialect sqlstore.Dialect
		open    func(t *testing.T) *sql.DB
		says    string
	}{
		{"autocommit", sqlstore.MySQL, withVariable("autocommit", "0"), "autocommit is OFF"},
		{"completion_type", sqlstore.MySQL, withVariable("completion_type", "1"), "completion_type is CHAIN"},
		{"tx_read_only", sqlstore.MySQL, withVariable("tx_read_only", "1"), "tx_read_only is ON"},
		{"sql_safe_updates", sqlstore.MySQL, withVariable("sql_safe_updates", "1"), ""},
		{"sql_mode", sqlstore.MySQL, withVariable("sql_mode", "'ORACLE,EMPTY_STRING_IS_NULL'"), ""},
		{"default_transaction_read_only", sqlstore.Postgres, func(t *testing.T) *sql.DB {
			address, err := url.Parse(testdb.Postgres(t).Create(t))
			require.NoError(t, err)
			address.RawQuery += "&default_transaction_read_only=on"
			return connect(t, "pgx", address.String())
		}, "default_transaction_read_only is on"},
		{"query_only", sqlstore.SQLite, func(t *testing.T) *sql.DB {
			return connect(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=query_only(1)")
		}, "PRAGMA query_only is on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := c.open(t)
			if text, err := sqldedup.Schema(c.dialect, ""); c.says == "" || strings.Contains(c.says, "autocommit") || strings.Contains(c.says, "CHAIN") {
				require.NoError(t, err)
				execute(t, db, text[strings.Index(text, "CREATE"):strings.LastIndex(text, ";")])
			}
			store, err := sqldedup.New(db, c.dialect)
			require.NoError(t, err)
			err = store.Check(t.Context())
			if c.says != "" {
				require.ErrorIs(t, err, sqlstore.ErrSession)
				assert.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			assert.Zero(t, count(t, db, "postoffice_handled"), "nothing is left in the table")
			state, token, err := store.Begin(t.Context(), "key", time.Hour)
			require.NoError(t, err)
			require.Equal(t, delivery.Begun, state)
			require.NoError(t, store.Done(t.Context(), "key", token, time.Hour))
			state, _, err = store.Begin(t.Context(), "key", time.Hour)
			require.NoError(t, err)
			assert.Equal(t, delivery.Handled, state)
			_, err = store.Prune(t.Context())
			require.NoError(t, err)
		})
	}
}

// TestCheckFindsRowSecurity shows that policies that hide what was stored are
// noticed, and those that let everything through are not in the way.
func TestCheckFindsRowSecurity(t *testing.T) {
	dsn := testdb.Postgres(t).Create(t)
	db := connect(t, "pgx", dsn)
	_, table := opened(t, db, sqlstore.Postgres)
	name := quoted(sqlstore.Postgres, table)
	for _, statement := range []string{
		"CREATE ROLE deduplicating LOGIN", "GRANT SELECT, INSERT, UPDATE, DELETE ON " + name + " TO deduplicating",
		"ALTER TABLE " + name + " ENABLE ROW LEVEL SECURITY", "CREATE POLICY inserting ON " + name + " FOR INSERT WITH CHECK (true)",
	} {
		execute(t, db, statement)
	}
	t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY deduplicating", "DROP ROLE deduplicating"} {
			_, err := db.ExecContext(context.WithoutCancel(t.Context()), statement)
			require.NoError(t, err)
		}
	})
	user := connect(t, "pgx", strings.Replace(dsn, "postgres@", "deduplicating@", 1))
	store, err := sqldedup.New(user, sqlstore.Postgres, sqldedup.WithTable(table))
	require.NoError(t, err)
	err = store.Check(t.Context())
	require.ErrorIs(t, err, sqlstore.ErrSession)
	assert.ErrorContains(t, err, `row-level security is active for the user "deduplicating"`)
	assert.Zero(t, count(t, db, name), "nothing is left in the table")
	execute(t, db, fmt.Sprintf("CREATE POLICY everything ON %s USING (true)", name))
	require.NoError(t, store.Check(t.Context()))
	assert.Zero(t, count(t, db, name))
}
