package sqldedup_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/lib/pq"              // the driver "postgres"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Runner{M: m}) }

// stand is a database with a driver.
type stand struct {
	name    string
	dialect sqlstore.Dialect
	// open returns a database of the test's own.
	open func(t *testing.T) *sql.DB
}

var stands = []stand{
	{"pgx", sqlstore.Postgres, func(t *testing.T) *sql.DB { return connect(t, "pgx", testdb.Postgres(t).Create(t)) }},
	{"pq", sqlstore.Postgres, func(t *testing.T) *sql.DB { return connect(t, "postgres", testdb.Postgres(t).Create(t)) }},
	{"mariadb", sqlstore.MySQL, func(t *testing.T) *sql.DB { return connectMySQL(t, nil) }},
	{"mariadb found rows", sqlstore.MySQL, func(t *testing.T) *sql.DB {
		return connectMySQL(t, func(c *mysql.Config) {
			c.ClientFoundRows = true
			c.Params = map[string]string{"time_zone": "'+05:30'", "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"}
		})
	}},
	{"sqlite", sqlstore.SQLite, func(t *testing.T) *sql.DB {
		return connect(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	}},
	{"sqlite one connection, no WAL", sqlstore.SQLite, func(t *testing.T) *sql.DB {
		db := connect(t, "sqlite", filepath.Join(t.TempDir(), "app.db"))
		db.SetMaxOpenConns(1)
		return db
	}},
}

func connect(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	return prepare(t, db)
}

func connectMySQL(t *testing.T, change func(*mysql.Config)) *sql.DB {
	t.Helper()
	config, err := mysql.ParseDSN(testdb.MariaDB(t).Create(t))
	require.NoError(t, err)
	config.Logger = &mysql.NopLogger{}
	if change != nil {
		change(config)
	}
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	return prepare(t, sql.OpenDB(connector))
}

func prepare(t *testing.T, db *sql.DB) *sql.DB {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// onEach runs a test on each stand.
func onEach(t *testing.T, test func(t *testing.T, stand stand, db *sql.DB)) {
	for _, stand := range stands {
		t.Run(stand.name, func(t *testing.T) { test(t, stand, stand.open(t)) })
	}
}

var tables atomic.Int64

// opened returns a store in an empty table of its own, and the table's name.
func opened(t *testing.T, db *sql.DB, dialect sqlstore.Dialect) (*sqldedup.Store, string) {
	t.Helper()
	table := fmt.Sprintf("Handled_%d", tables.Add(1))
	require.NoError(t, sqldedup.Migrate(t.Context(), db, dialect, sqldedup.WithTable(table)))
	store, err := sqldedup.New(db, dialect, sqldedup.WithTable(table))
	require.NoError(t, err)
	return store, table
}

// quoted is a name as a statement has it.
func quoted(dialect sqlstore.Dialect, name string) string {
	if dialect == sqlstore.MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// count counts the rows of a table.
func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}
