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

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// methods call each method of a store.
var methods = []struct {
	name string
	call func(ctx context.Context, tb testing.TB, store *Store) error
}{
	{"Check", func(ctx context.Context, _ testing.TB, s *Store) error { return s.Check(ctx) }},
	{"Insert", func(ctx context.Context, tb testing.TB, s *Store) error { return s.Insert(ctx, 0, message(tb)) }},
	{"Insert many", func(ctx context.Context, tb testing.TB, s *Store) error {
		return s.Insert(ctx, 0, messages(tb, 600)...)
	}},
	{"Claim", func(ctx context.Context, _ testing.TB, s *Store) error {
		return justErr(s.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: time.Hour}))
	}},
	{"Claim by topic", func(ctx context.Context, _ testing.TB, s *Store) error {
		return justErr(s.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: time.Hour, PerTopic: 1}))
	}},
	{"Delete", func(ctx context.Context, _ testing.TB, s *Store) error { return justErr(s.Delete(ctx, "none")) }},
	{"Reschedule", func(ctx context.Context, _ testing.TB, s *Store) error {
		return justErr(s.Reschedule(ctx, outbox.Change{ID: "none", LeaseToken: "none"}))
	}},
	{"Next", func(ctx context.Context, _ testing.TB, s *Store) error {
		_, _, err := s.Next(ctx)
		return err
	}},
	{"Stats", func(ctx context.Context, _ testing.TB, s *Store) error { return justErr(s.Stats(ctx)) }},
	{"List", func(ctx context.Context, _ testing.TB, s *Store) error { return justErr(s.List(ctx, outbox.Query{})) }},
	{"Retry", func(ctx context.Context, _ testing.TB, s *Store) error {
		return justErr(s.Retry(ctx, outbox.Selection{All: true}))
	}},
	{"Discard", func(ctx context.Context, _ testing.TB, s *Store) error {
		return justErr(s.Discard(ctx, outbox.Selection{All: true}))
	}},
}

// every calls each method of a store and returns their errors by name.
func every(ctx context.Context, tb testing.TB, store *Store) map[string]error {
	errs := map[string]error{}
	for _, method := range methods {
		errs[method.name] = method.call(ctx, tb, store)
	}
	return errs
}

// TestTableMissing shows that the error of each method names the problem.
func TestTableMissing(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store, err := New(stand.open(t), stand.dialect)
		require.NoError(t, err)
		for method, err := range every(t.Context(), t, store) {
			require.ErrorIs(t, err, ErrSchema, method)
			assert.ErrorContains(t, err, DefaultTable, method)
			assert.ErrorContains(t, err, "sqlstore.Migrate", method)
		}
	})
}

// TestServerDown shows that a store may be made while the server is down, says
// so, and works as soon as the server is there, at the start and later.
func TestServerDown(t *testing.T) {
	const secret = "hush-hush"
	withPassword := func(dsn string) string {
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		u.User = url.UserPassword("postgres", secret)
		return u.String()
	}
	for name, c := range map[string]struct {
		dialect Dialect
		server  func(testing.TB, ...testdb.Option) *testdb.Server
		open    func(t *testing.T, dsn string) *sql.DB
	}{
		"pgx": {Postgres, testdb.NewPostgres, func(t *testing.T, dsn string) *sql.DB { return connect(t, "pgx", withPassword(dsn)) }},
		"pq":  {Postgres, testdb.NewPostgres, func(t *testing.T, dsn string) *sql.DB { return connect(t, "postgres", withPassword(dsn)) }},
		"mariadb": {MySQL, testdb.NewMariaDB, func(t *testing.T, dsn string) *sql.DB {
			return connectMySQL(t, dsn, func(c *mysql.Config) { c.Passwd = secret })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := c.server(t)
			dsn := server.Create(t)
			if c.dialect == MySQL {
				admin := connectMySQL(t, dsn, nil)
				run(t, admin, "CREATE USER app IDENTIFIED BY '"+secret+"'", "GRANT ALL ON *.* TO app",
					"CREATE USER app@localhost IDENTIFIED BY '"+secret+"'", "GRANT ALL ON *.* TO app@localhost")
				require.NoError(t, admin.Close())
				dsn = strings.Replace(dsn, "root@", "app@", 1)
			}
			server.Stop(t)

			db := c.open(t, dsn)
			store, err := New(db, c.dialect)
			require.NoError(t, err)
			down := func() {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for method, err := range every(ctx, t, store) {
					require.Error(t, err, method)
					require.NoError(t, ctx.Err(), "%s says so at once", method)
					assert.ErrorContains(t, err, "outbox/sqlstore: ", method)
					assert.NotContains(t, err.Error(), secret, method)
					assert.NotContains(t, err.Error(), `{"id"`, method)
				}
				require.Error(t, Migrate(ctx, db, c.dialect))
			}
			up := func() {
				t.Helper()
				record := message(t)
				require.Eventually(t, func() bool { return store.Insert(t.Context(), 0, record) == nil }, 20*time.Second, 20*time.Millisecond)
				require.Eventually(t, func() bool {
					claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 10, Lease: time.Hour})
					return err == nil && len(claimed) == 1 && claimed[0].ID == record.ID
				}, 20*time.Second, 20*time.Millisecond)
				require.Len(t, stored(t, store), 1, "an insert that is repeated is there once")
				n, err := store.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			down()
			server.Start(t)
			require.NoError(t, Migrate(t.Context(), db, c.dialect))
			require.NoError(t, store.Check(t.Context()))
			up()
			server.Kill(t)
			down()
			server.Start(t)
			up()
		})
	}
}

// TestContextEnds shows that a call which waits for a lock ends with its
// context, with its error, and holds no connection afterwards.
func TestContextEnds(t *testing.T) {
	onEach(t, append(stands, variants[:5]...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		record := message(t)
		require.NoError(t, store.Insert(t.Context(), 0, record))
		tx, err := store.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "UPDATE "+store.table.SQL()+" SET attempts = 5")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err = store.Delete(ctx, record.ID)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(begin), 20*time.Second)

		cancelled, cancelNow := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancelNow)
		_, err = store.Delete(cancelled, record.ID)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, tx.Rollback())
		// Some drivers leave the statement to a server that carries it out.
		_, err = store.Delete(t.Context(), record.ID)
		require.NoError(t, err)
		assert.Empty(t, stored(t, store), "and then it goes on")
		assert.Zero(t, store.db.Stats().InUse)
	})
}

// TestSQLiteBusy shows that a store waits for the file also where the driver
// does not.
func TestSQLiteBusy(t *testing.T) {
	db := connect(t, "sqlite", "file:"+sqliteFile(t)+"?_pragma=busy_timeout(0)")
	store := opened(t, db, SQLite)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM "+store.table.SQL())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, store.Insert(ctx, 0, message(t)), context.DeadlineExceeded)

	done, many := make(chan error, 1), messages(t, 300)
	go func() { done <- store.Insert(t.Context(), 0, many...) }()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, store.Insert(ctx, 0, message(t)), context.DeadlineExceeded, "a second one waits, so the first does")
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	assert.Len(t, stored(t, store), 300)
}

// TestConflicts makes a real deadlock with each driver and shows that it is
// recognised, and that a call of the store which meets one is run again.
func TestConflicts(t *testing.T) {
	onEach(t, append(stands[:2:2], variants[:4]...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		records := messages(t, 2)
		require.NoError(t, store.Insert(t.Context(), 0, records...))
		touch := func(tx runner, id string) error {
			_, err := tx.ExecContext(t.Context(), "UPDATE "+store.table.SQL()+" SET attempts = attempts + 1 WHERE id = "+store.dialect.text(id))
			return err
		}
		attempts := 0
		once := func() error {
			attempts++
			return store.transact(t.Context(), func(tx *sql.Conn) error {
				if err := touch(tx, records[0].ID); err != nil || attempts > 1 {
					return err
				}
				// The other transaction holds the second and waits for the first.
				other, err := store.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, touch(other, records[1].ID))
				done := make(chan error, 1)
				go func() { done <- touch(other, records[0].ID) }()
				err = touch(tx, records[1].ID)
				if err == nil { // the other was chosen
					err = <-done
				} else {
					_, undone := tx.ExecContext(t.Context(), "ROLLBACK")
					require.NoError(t, undone)
					require.NoError(t, <-done)
				}
				require.NoError(t, other.Rollback())
				require.Error(t, err)
				assert.Equal(t, sqltable.Conflict, store.table.Classify(err), "%T: %v", err, err)
				return err
			})
		}
		require.NoError(t, store.do(t.Context(), "test", once))
		assert.Equal(t, 2, attempts)
	})
}

// TestLockTimeouts shows that a lock which another transaction does not release
// in time is tried again, and so comes to its end.
func TestLockTimeouts(t *testing.T) {
	for _, stand := range []stand{
		{"pgx", Postgres, postgresWith("pgx", "lock_timeout", "50")},
		{"pq", Postgres, postgresWith("postgres", "lock_timeout", "50")},
		{"mariadb", MySQL, func(tb testing.TB) *sql.DB {
			return connectMySQL(tb, testdb.MariaDB(tb).Create(tb), func(c *mysql.Config) {
				c.Params = map[string]string{"innodb_lock_wait_timeout": "1"}
			})
		}},
	} {
		t.Run(stand.name, func(t *testing.T) {
			store := opened(t, stand.open(t), stand.dialect)
			record := message(t)
			require.NoError(t, store.Insert(t.Context(), 0, record))
			tx, err := store.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), "UPDATE "+store.table.SQL()+" SET attempts = 5")
			require.NoError(t, err)
			attempts := 0
			require.NoError(t, store.do(t.Context(), "test", func() error {
				attempts++
				n, err := store.remove(t.Context(), []string{record.ID}, func(*values) string { return "" })
				if attempts == 1 {
					require.Error(t, err)
					require.NoError(t, tx.Rollback())
				} else {
					assert.Equal(t, 1, n)
				}
				return err
			}))
			assert.Equal(t, 2, attempts)
		})
	}
}

// TestThroughPooler runs each method through a pooler that gives each
// transaction another connection.
func TestThroughPooler(t *testing.T) {
	dsn := testdb.Postgres(t).Create(t)
	pooled := testdb.PgBouncer(t, dsn)
	direct := connect(t, "pgx", dsn)
	for driver, parameter := range map[string]string{"pgx": "default_query_exec_mode=exec", "postgres": "binary_parameters=yes"} {
		t.Run(driver, func(t *testing.T) {
			db := connect(t, driver, pooled+"&"+parameter)
			store := opened(t, db, Postgres, WithMaxRecords(10_000))
			for method, err := range every(t.Context(), t, store) {
				require.NoError(t, err, method)
			}
			require.NoError(t, store.Probe(t.Context()))
			assert.Empty(t, stored(t, store))
		})
	}
	store := opened(t, direct, Postgres)
	for range 2 {
		var err error
		for range 2 {
			preparing, failed := New(connect(t, "pgx", pooled), Postgres, WithTable(store.table.String()))
			require.NoError(t, failed)
			err = preparing.Check(t.Context())
		}
		require.ErrorContains(t, err, "default_query_exec_mode=exec", "who prepares is told what to do")
	}
}

// TestClosedWhileInUse shows that what a call meets when the store is closed
// under it is ErrClosed.
func TestClosedWhileInUse(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		stop := make(chan error, 1)
		started := make(chan struct{})
		record := message(t)
		go func() {
			for i := 0; ; i++ {
				if err := store.Insert(t.Context(), 0, record); err != nil {
					stop <- err
					return
				}
				if i == 5 {
					close(started)
				}
			}
		}()
		<-started
		require.NoError(t, store.Close())
		require.ErrorIs(t, <-stop, outbox.ErrClosed)
		require.NoError(t, store.db.PingContext(t.Context()), "the database is the caller's")
		require.NoError(t, store.Close())
	})
}

// TestSilenceAtCommit has the connection fall silent when a claim commits: the
// claim ends with its context, and the next one has another connection.
func TestSilenceAtCommit(t *testing.T) {
	config, err := mysql.ParseDSN(testdb.MariaDB(t).Create(t))
	require.NoError(t, err)
	p := newTurns(t, config.Addr)
	config.Addr = p.address
	store := opened(t, connect(t, "mysql", config.FormatDSN()), MySQL)
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 2)...))
	p.silence.Store(new("\x03COMMIT")) // with the protocol's byte for a statement
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: time.Hour})
		ended <- err
	}()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(20 * time.Second):
		require.Fail(t, "the claim does not end")
	}
	p.silence.Store(nil)
	require.Len(t, claimed(t, store, 2), 2, "nothing is left locked")
}
