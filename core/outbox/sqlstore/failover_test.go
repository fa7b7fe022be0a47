package sqlstore

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// failover is a database whose server is exchanged while its connections stay
// open.
type failover struct {
	dialect Dialect
	open    func(t *testing.T) *sql.DB
	// flip makes the server read-only to which the pool is connected, and leads
	// new connections to another one with the same table.
	flip func(t *testing.T)
}

// failovers returns the databases by the names of drivers and what stands between.
func failovers() map[string]func(t *testing.T) failover {
	onPostgres := func(driver string, connections int, parameters ...string) func(t *testing.T) failover {
		return func(t *testing.T) failover {
			pair := testdb.NewPostgresPair(t, testdb.Synchronous)
			proxy := testdb.NewProxy(t, pair.Primary.Address())
			dsn := proxy.Through(pair.Primary, pair.Create(t))
			if connections > 0 {
				dsn = testdb.NewPgBouncer(t, dsn, connections)
			}
			for i := 0; i < len(parameters); i += 2 {
				dsn += "&" + parameters[i] + "=" + url.QueryEscape(parameters[i+1])
			}
			return failover{Postgres,
				func(t *testing.T) *sql.DB { return connect(t, driver, dsn) },
				func(t *testing.T) {
					pair.Switch(t)
					proxy.Flip(pair.Primary.Address())
				}}
		}
	}
	return map[string]func(t *testing.T) failover{
		"pgx":                 onPostgres("pgx", 0),
		"pgx, read-write":     onPostgres("pgx", 0, "target_session_attrs", "read-write"),
		"pq":                  onPostgres("postgres", 0),
		"pgx, PgBouncer":      onPostgres("pgx", 4, "default_query_exec_mode", "exec"),
		"mariadb":             failoverMariaDB(false),
		"mariadb, unprepared": failoverMariaDB(true),
	}
}

// failoverMariaDB is a database on two servers that know nothing of each other.
func failoverMariaDB(interpolate bool) func(t *testing.T) failover {
	return func(t *testing.T) failover {
		old, next := testdb.NewMariaDB(t), testdb.NewMariaDB(t)
		proxy := testdb.NewProxy(t, old.Address())
		for _, server := range []*testdb.Server{next, old} {
			admin := connectMySQL(t, server.Create(t), nil)
			// A user with all privileges may write to a server that is read-only.
			run(t, admin, "CREATE USER app@'127.0.0.1'", "GRANT ALL ON test_1.* TO app@'127.0.0.1'")
			if server == next {
				require.NoError(t, Migrate(t.Context(), admin, MySQL))
			}
		}
		dsn := "app@tcp(" + proxy.Address() + ")/test_1"
		return failover{MySQL,
			func(t *testing.T) *sql.DB {
				return connectMySQL(t, dsn, func(c *mysql.Config) { c.InterpolateParams = interpolate })
			},
			func(t *testing.T) {
				run(t, connectMySQL(t, strings.Replace(old.Create(t), "test_2", "test_1", 1), nil), "SET GLOBAL read_only = ON")
				proxy.Flip(next.Address())
			}}
	}
}

// filled returns a pool that has all of its connections.
func (f failover) filled(t *testing.T) *sql.DB {
	t.Helper()
	const connections = 5
	db := f.open(t)
	db.SetMaxOpenConns(connections)
	for range connections {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.PingContext(t.Context()))
		defer func() { require.NoError(t, conn.Close()) }()
	}
	return db
}

// TestFailover exchanges the server while pools have connections to the old one,
// which stay open: each method continues at once, with the new server. A caller's
// transaction fails and is not repeated; the next one finds the new server when
// the store has.
func TestFailover(t *testing.T) {
	for name, start := range failovers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			require.NoError(t, Migrate(t.Context(), f.open(t), f.dialect))
			pools := map[string]*sql.DB{}
			for _, method := range methods {
				pools[method.name] = f.filled(t)
			}
			own := f.filled(t)
			shared := f.filled(t)
			f.flip(t)

			store, err := New(shared, f.dialect)
			require.NoError(t, err)
			insert := func() error {
				tx, err := shared.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer func() { require.NoError(t, tx.Rollback()) }()
				return store.InsertTx(t.Context(), tx, message(t))
			}
			// PgBouncer gives the transaction any of its connections, and lib/pq begins
			// one that the setting does not make read-only.
			if name != "pgx, PgBouncer" && name != "pq" {
				// Sessions of PostgreSQL hear of it in a moment.
				require.Eventually(t, func() bool { return insert() != nil }, 30*time.Second, 10*time.Millisecond)
				require.Error(t, insert(), "the connection is the caller's")
				assert.Zero(t, store.Retries(), "it is not repeated")
			}
			require.Eventually(t, func() bool {
				require.NoError(t, store.Insert(t.Context(), 0, message(t)))
				return store.Retries().Failovers > 0
			}, 30*time.Second, 10*time.Millisecond)
			require.NoError(t, insert())

			for _, method := range methods {
				store, err := New(pools[method.name], f.dialect)
				require.NoError(t, err)
				begin := time.Now()
				require.NoError(t, method.call(t.Context(), t, store), method.name)
				assert.Less(t, time.Since(begin), 5*time.Second, method.name)
				assert.Zero(t, pools[method.name].Stats().InUse)
			}
			store, err = New(own, f.dialect)
			require.NoError(t, err)
			require.NoError(t, store.Probe(t.Context()))
			record := message(t)
			require.NoError(t, store.Insert(t.Context(), 0, record))
			assert.Contains(t, idsOf(stored(t, another(t, store))), record.ID, "the table of the new server")
		})
	}
}

// TestStandbyAway shows that what a synchronous standby has not got is not accepted:
// an insert waits for it, and an insert whose context ends before that has failed.
func TestStandbyAway(t *testing.T) {
	t.Parallel()
	pair := testdb.NewPostgresPair(t, testdb.Synchronous)
	dsn := pair.Create(t)
	stores := map[string]*Store{}
	for _, driver := range []string{"pgx", "postgres"} {
		stores[driver] = opened(t, connect(t, driver, dsn), Postgres)
		require.NoError(t, stores[driver].Insert(t.Context(), 0, message(t)))
	}
	pair.Standby.Kill(t)
	for driver, store := range stores {
		for name, records := range map[string][]outbox.Record{"one": messages(t, 1), "many": messages(t, 600)} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			assert.ErrorIs(t, store.Insert(ctx, 0, records...), context.DeadlineExceeded, "%s, %s", driver, name)
			cancel()
		}
	}
	pair.Standby.Start(t)
	for driver, store := range stores {
		require.NoError(t, store.Insert(t.Context(), 0, message(t)), driver)
	}
}
