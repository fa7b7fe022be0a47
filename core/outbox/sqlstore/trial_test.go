package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// session is a database whose connections have a setting.
type session struct {
	name string
	// open returns a store on connections with the setting, and one on others.
	open func(t *testing.T) (with, without *Store)
	// says is what Check says of it. If it is empty the store works.
	says string
}

// onSession opens a table by two data source names.
func onSession(t *testing.T, dialect Dialect, plain, changed *sql.DB) (with, without *Store) {
	t.Helper()
	without = opened(t, plain, dialect)
	with, err := New(changed, dialect, WithTable(without.table.String()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, with.Close()) })
	return with, without
}

// mysqlSession sets variables on each connection. Values are as in SQL.
func mysqlSession(says string, variables ...string) session {
	return session{strings.Join(variables, " "), func(t *testing.T) (with, without *Store) {
		dsn := testdb.MariaDB(t).Create(t)
		changed := connectMySQL(t, dsn, func(c *mysql.Config) {
			c.Params = map[string]string{}
			for i := 0; i < len(variables); i += 2 {
				c.Params[variables[i]] = variables[i+1]
			}
		})
		return onSession(t, MySQL, connectMySQL(t, dsn, nil), changed)
	}, says}
}

func postgresSession(says, driver string, parameters ...string) session {
	return session{driver + " " + strings.Join(parameters, " "), func(t *testing.T) (with, without *Store) {
		dsn := testdb.Postgres(t).Create(t)
		address, err := url.Parse(dsn)
		require.NoError(t, err)
		query := address.Query()
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		address.RawQuery = query.Encode()
		return onSession(t, Postgres, connect(t, driver, dsn), connect(t, driver, address.String()))
	}, says}
}

// sessions are the settings that change what statements mean.
var sessions = []session{
	mysqlSession("autocommit is OFF", "autocommit", "0"),
	mysqlSession("completion_type is CHAIN", "completion_type", "1"),
	mysqlSession("EMPTY_STRING_IS_NULL", "sql_mode", "'EMPTY_STRING_IS_NULL'"),
	mysqlSession("sql_safe_updates is ON", "sql_safe_updates", "1"),
	mysqlSession("sql_select_limit is 10", "sql_select_limit", "10"),
	mysqlSession("tx_read_only is ON", "tx_read_only", "1"),
	mysqlSession("", "sql_mode", "'ORACLE'"),
	mysqlSession("", "sql_mode", "''"),
	postgresSession("default_transaction_read_only is on", "pgx", "default_transaction_read_only", "on"),
	postgresSession("default_transaction_read_only is on", "postgres", "default_transaction_read_only", "on"),
	postgresSession("client_encoding is LATIN1, not UTF8", "pgx", "client_encoding", "LATIN1"),
	postgresSession("", "pgx", "standard_conforming_strings", "off"),
	postgresSession("", "pgx", "default_transaction_isolation", "serializable"),
	{"PRAGMA query_only", func(t *testing.T) (with, without *Store) {
		path := sqliteFile(t)
		return onSession(t, SQLite, openSQLite(t, path), connect(t, "sqlite", "file:"+path+"?_pragma=query_only(1)"))
	}, "PRAGMA query_only is on"},
	rowSecurity("", ""),
	rowSecurity("row-level security is active", "FOR INSERT WITH CHECK (true)"),
	rowSecurity("row-level security is active", "FOR INSERT WITH CHECK (true)", "FOR SELECT USING (true)"),
	rowSecurity("row-level security is active", "FOR INSERT WITH CHECK (true)", "FOR SELECT USING (true)", "FOR UPDATE USING (true)"),
	rowSecurity("", "USING (true)"),
}

// rowSecurity is a user whom policies of the table let do something.
func rowSecurity(says string, policies ...string) session {
	return session{fmt.Sprintf("row security %q", policies), func(t *testing.T) (with, without *Store) {
		dsn := testdb.Postgres(t).Create(t)
		plain := connect(t, "pgx", dsn)
		without = opened(t, plain, Postgres)
		user := strings.ToLower(freshTable())
		name := without.table.SQL()
		run(t, plain, "CREATE ROLE "+user+" LOGIN", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+name+" TO "+user)
		t.Cleanup(func() { run(t, plain, "DROP OWNED BY "+user, "DROP ROLE "+user) })
		for i, policy := range policies {
			if policy != "" {
				run(t, plain, "ALTER TABLE "+name+" ENABLE ROW LEVEL SECURITY", fmt.Sprintf("CREATE POLICY p%d ON %s %s", i, name, policy))
			}
		}
		with, err := New(connect(t, "pgx", strings.Replace(dsn, "postgres@", user+"@", 1)), Postgres, WithTable(without.table.String()))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, with.Close()) })
		return with, without
	}, says}
}

// TestCheckNamesTheSetting shows that a setting with which the store does not
// work is found at the start, and that a session that Check lets pass works.
func TestCheckNamesTheSetting(t *testing.T) {
	for _, session := range sessions {
		t.Run(session.name, func(t *testing.T) {
			with, without := session.open(t)
			for _, connections := range []int{16, 1} {
				with.db.SetMaxOpenConns(connections)
				err := with.Check(t.Context())
				assert.Zero(t, without.rows(t), "nothing is left in the table")
				if session.says != "" {
					require.ErrorIs(t, err, ErrSession, "%d connections", connections)
					assert.ErrorContains(t, err, session.says, "%d connections", connections)
					continue
				}
				require.NoError(t, err, "%d connections", connections)
				record := message(t)
				require.NoError(t, with.Insert(t.Context(), 0, record))
				require.NoError(t, with.Insert(t.Context(), 0, messages(t, 400)...))
				require.Len(t, stored(t, without), 401)
				require.Len(t, claimed(t, with, 401), 401)
				for _, c := range stored(t, without) {
					n, err := with.Reschedule(t.Context(), outbox.Change{ID: c.ID, LeaseToken: c.LeaseToken, LastError: "HTTP 503"})
					require.NoError(t, err)
					require.Equal(t, 1, n)
				}
				require.Len(t, claimed(t, without, 401), 401)
				n, err := with.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
				require.Equal(t, 401, n)
				assert.Empty(t, stored(t, without))
			}
		})
	}
}

// rows counts the rows of the table, whatever they are.
func (s *Store) rows(tb testing.TB) (n int) {
	tb.Helper()
	_, err := first(tb.Context(), s.db.DB, "SELECT count(*) FROM "+s.table.SQL(), nil, &n)
	require.NoError(tb, err)
	return n
}

// leaveTrial leaves the row of a trial whose process was killed.
func leaveTrial(tb testing.TB, store *Store) outbox.Record {
	tb.Helper()
	conn, err := store.db.Conn(tb.Context())
	require.NoError(tb, err)
	record := trialRecord()
	require.NoError(tb, store.insertTrial(tb.Context(), conn, record))
	require.NoError(tb, conn.Close())
	return record
}

// TestNobodySeesTrials shows that the row of a trial is none of the records,
// and that the next Check removes what a killed process has left.
func TestNobodySeesTrials(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		bounded := another(t, store, WithMaxRecords(1), WithMaxBytes(1000))
		trial := leaveTrial(t, store)
		require.Equal(t, 1, store.rows(t))
		ctx := t.Context()

		pending := outbox.Pending
		unseen := func() {
			t.Helper()
			stats, err := store.Stats(ctx)
			require.NoError(t, err)
			assert.Equal(t, outbox.Stats{}, stats)
			assert.Empty(t, stored(t, store))
			for _, query := range []outbox.Query{{State: &pending}, {IDs: []string{trial.ID}}, {IDs: []string{trial.ID}, State: &pending}, {Topic: trial.Topic}} {
				list, err := store.List(ctx, query)
				require.NoError(t, err)
				assert.Empty(t, list)
			}
			for _, selection := range []outbox.Selection{{All: true}, {All: true, State: &pending}, {IDs: []string{trial.ID}}, {IDs: []string{trial.ID}, State: &pending}} {
				n, err := store.Count(ctx, selection)
				require.NoError(t, err)
				assert.Zero(t, n)
				n, err = store.Retry(ctx, selection)
				require.NoError(t, err)
				assert.Zero(t, n)
				n, err = store.Discard(ctx, selection)
				require.NoError(t, err)
				assert.Zero(t, n)
			}
			assert.Empty(t, claimed(t, store, 10))
			_, found, err := store.Next(ctx)
			require.NoError(t, err)
			assert.False(t, found)
		}
		unseen()
		record := message(t)
		require.NoError(t, bounded.Insert(ctx, 0, record), "it takes no room")
		require.ErrorIs(t, bounded.Insert(ctx, 0, message(t)), outbox.ErrFull)
		n, err := store.Count(ctx, outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Equal(t, []string{record.ID}, idsOf(list(t, store, outbox.Query{Limit: 1})), "a page is full without it")
		_, err = store.Delete(ctx, record.ID)
		require.NoError(t, err)
		unseen()

		assert.Equal(t, 1, store.rows(t))
		require.NoError(t, store.Probe(ctx))
		assert.Equal(t, 1, store.rows(t), "a probe only reads")
		require.NoError(t, store.Check(ctx))
		assert.Zero(t, store.rows(t))
	})
}

// TestTrialIsDueBeyondAllRecords shows that no record of a caller's is taken
// for a trial, and that releases which know nothing of trials can tell when one
// is due.
func TestTrialIsDueBeyondAllRecords(t *testing.T) {
	assert.Equal(t, trialDue, time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		record := message(t)
		require.NoError(t, store.Insert(t.Context(), time.Duration(math.MaxInt64), record))
		require.NoError(t, store.Check(t.Context()))
		assert.Equal(t, []string{record.ID}, idsOf(stored(t, store)))
		_, err := store.Delete(t.Context(), record.ID)
		require.NoError(t, err)

		leaveTrial(t, store)
		var wait int64
		_, err = first(t.Context(), store.db.DB, "SELECT due_at - "+stand.dialect.now()+" FROM "+store.table.SQL(), nil, &wait)
		require.NoError(t, err)
		assert.Greater(t, time.Duration(wait)*time.Microsecond, latest)
		run(t, store.db.DB, "UPDATE "+store.table.SQL()+" SET id = 'of an earlier release'")
		require.NoError(t, store.Check(t.Context()))
		assert.Equal(t, 1, store.rows(t), "what is no trial is not removed")
	})
}

// TestChecksAtTheSameTime shows that trials of several processes do not
// disturb each other, nor the records.
func TestChecksAtTheSameTime(t *testing.T) {
	onEach(t, append(stands, variants[5]), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		record := message(t)
		require.NoError(t, store.Insert(t.Context(), time.Hour, record))
		var group sync.WaitGroup
		for range 4 {
			other := another(t, store)
			group.Go(func() {
				for range 5 {
					assert.NoError(t, other.Check(t.Context()))
					stats, err := other.Stats(t.Context())
					assert.NoError(t, err)
					assert.Equal(t, 1, stats.Pending)
				}
			})
		}
		group.Wait()
		assert.Equal(t, 1, store.rows(t))
	})
}

// TestCheckWithABusyPool shows that Check does not wait for a second
// connection that the pool cannot give.
func TestCheckWithABusyPool(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		store.db.SetMaxOpenConns(2)
		held, err := store.db.Conn(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, held.Close()) }()
		require.NoError(t, store.Check(t.Context()))
		assert.Zero(t, store.rows(t))
	})
}

// TestCheckOfATableThatIsNotTheSame shows that a table which a connection has
// for itself is noticed.
func TestCheckOfATableThatIsNotTheSame(t *testing.T) {
	for _, stand := range []stand{stands[0], {"sqlite in memory", SQLite, func(tb testing.TB) *sql.DB { return connect(tb, "sqlite", ":memory:") }}} {
		t.Run(stand.name, func(t *testing.T) {
			db := stand.open(t)
			db.SetMaxOpenConns(1)
			store := opened(t, db, stand.dialect)
			if stand.dialect == Postgres {
				run(t, db, "CREATE TEMPORARY TABLE "+store.table.SQL()+" (LIKE "+store.table.SQL()+" INCLUDING ALL)")
			}
			require.NoError(t, store.Check(t.Context()))
			db.SetMaxOpenConns(16)
			require.Error(t, store.Check(t.Context()))
		})
	}
}

// TestCheckEndsWithItsContext shows that a Check whose context ends leaves
// nothing behind that is locked.
func TestCheckEndsWithItsContext(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		tx, err := store.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		lock := "LOCK TABLE " + store.table.SQL() + " IN EXCLUSIVE MODE"
		if stand.dialect == MySQL {
			lock = "SELECT * FROM " + store.table.SQL() + " FOR UPDATE"
		}
		_, err = tx.ExecContext(t.Context(), lock)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, store.Check(ctx), context.DeadlineExceeded)
		require.NoError(t, tx.Rollback())
		require.NoError(t, store.Check(t.Context()))
		assert.Zero(t, store.rows(t))
		assert.Zero(t, store.db.Stats().InUse)
	})
}
