package sqlstore

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/lib/pq"              // the driver "postgres"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// stand is a database with a driver.
type stand struct {
	name    string
	dialect Dialect
	// open returns a database of the test's own.
	open func(tb testing.TB) *sql.DB
}

// stands are the databases of most tests, each with one driver.
var stands = []stand{
	{"pgx", Postgres, func(tb testing.TB) *sql.DB { return connect(tb, "pgx", testdb.Postgres(tb).Create(tb)) }},
	{"mariadb", MySQL, func(tb testing.TB) *sql.DB { return connectMySQL(tb, testdb.MariaDB(tb).Create(tb), nil) }},
	{"sqlite", SQLite, func(tb testing.TB) *sql.DB { return openSQLite(tb, sqliteFile(tb)) }},
}

// variants are other drivers, and other settings of them.
var variants = []stand{
	{"pgx exec", Postgres, postgresWith("pgx", "default_query_exec_mode", "exec")},
	{"pgx simple protocol", Postgres, postgresWith("pgx", "default_query_exec_mode", "simple_protocol")},
	{"pq", Postgres, postgresWith("postgres")},
	{"pq binary parameters", Postgres, postgresWith("postgres", "binary_parameters", "yes")},
	{"mariadb parseTime, found rows", MySQL, func(tb testing.TB) *sql.DB {
		return connectMySQL(tb, testdb.MariaDB(tb).Create(tb), func(c *mysql.Config) {
			c.ParseTime, c.ClientFoundRows, c.InterpolateParams = true, true, true
			c.Params = map[string]string{"time_zone": "'+05:30'", "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"}
		})
	}},
	{"sqlite one connection, no WAL", SQLite, func(tb testing.TB) *sql.DB {
		db := connect(tb, "sqlite", sqliteFile(tb))
		db.SetMaxOpenConns(1)
		return db
	}},
}

// sqliteFile returns the path of a database that is not there yet.
func sqliteFile(tb testing.TB) string { return filepath.Join(tb.TempDir(), "app.db") }

// openSQLite opens a file as the package's documentation advises.
func openSQLite(tb testing.TB, path string) *sql.DB {
	return connect(tb, "sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
}

func connect(tb testing.TB, driver, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

func postgresWith(driver string, parameters ...string) func(tb testing.TB) *sql.DB {
	return func(tb testing.TB) *sql.DB {
		dsn, err := url.Parse(testdb.Postgres(tb).Create(tb))
		require.NoError(tb, err)
		query := dsn.Query()
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		dsn.RawQuery = query.Encode()
		return connect(tb, driver, dsn.String())
	}
}

func connectMySQL(tb testing.TB, dsn string, change func(*mysql.Config)) *sql.DB {
	tb.Helper()
	config, err := mysql.ParseDSN(dsn)
	require.NoError(tb, err)
	config.Logger = &mysql.NopLogger{}
	if change != nil {
		change(config)
	}
	connector, err := mysql.NewConnector(config)
	require.NoError(tb, err)
	db := sql.OpenDB(connector)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// onEach runs a test on each stand, on several at a time.
func onEach(t *testing.T, list []stand, test func(t *testing.T, stand stand)) {
	for _, stand := range list {
		t.Run(stand.name, func(t *testing.T) {
			t.Parallel()
			test(t, stand)
		})
	}
}

var tables atomic.Int64

// freshTable returns a name that no other test uses.
func freshTable() string { return fmt.Sprintf("Outbox_%d", tables.Add(1)) }

// opened returns a store in an empty table of its own, or that of an option.
func opened(tb testing.TB, db *sql.DB, dialect Dialect, options ...Option) *Store {
	tb.Helper()
	options = append([]Option{WithTable(freshTable())}, options...)
	require.NoError(tb, Migrate(tb.Context(), db, dialect, options...))
	store, err := New(db, dialect, options...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close()) })
	return store
}

// another returns one more store in the table of a store.
func another(tb testing.TB, store *Store, options ...Option) *Store {
	tb.Helper()
	other, err := New(store.db.DB, store.dialect, append([]Option{WithTable(store.table.String())}, options...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, other.Close()) })
	return other
}

// connectMySQLAs connects another user to the database of a pool.
func connectMySQLAs(tb testing.TB, db *sql.DB, user string) *sql.DB {
	tb.Helper()
	var name string
	var port int
	require.NoError(tb, db.QueryRowContext(tb.Context(), "SELECT DATABASE(), @@port").Scan(&name, &port))
	return connectMySQL(tb, fmt.Sprintf("%s@tcp(127.0.0.1:%d)/%s", user, port, name), nil)
}
