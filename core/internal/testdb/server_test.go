package testdb

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreate(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.shared(t)
		first, second := server.Create(t), server.Create(t)
		assert.NotEqual(t, first, second)
		// The same name in both: they are two databases.
		for _, dsn := range []string{first, second} {
			execute(t, open(t, dsn), "CREATE TABLE t (a INT)")
		}
	})
}

func TestDataSourceNames(t *testing.T) {
	server := Postgres(t)
	address, err := url.Parse(server.Create(t))
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:"+strconv.Itoa(server.port), address.Host)
	assert.Equal(t, "postgres", address.Scheme)
	assert.Equal(t, "sslmode=disable", address.RawQuery)

	server = MariaDB(t)
	dsn := server.Create(t)
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:"+strconv.Itoa(server.port), config.Addr)
	var now time.Time
	require.NoError(t, open(t, dsn+"?parseTime=true").QueryRowContext(t.Context(), "SELECT NOW()").Scan(&now))

	_, err = Open("no data source name")
	assert.Error(t, err)
}

// TestDrop leaves connections and a transaction behind, as a test that fails
// does.
func TestDrop(t *testing.T) {
	eachEngine(t, func(parent *testing.T, kind kind) {
		t := parent
		server := kind.shared(t)
		var name string
		t.Run("uses a database", func(t *testing.T) {
			db := open(parent, server.Create(t))
			name = kind.ask(t, db, "SELECT current_database()", "SELECT DATABASE()")
			execute(t, db, "CREATE TABLE t (a INT)")
			tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
			require.NoError(t, err)
			parent.Cleanup(func() { _ = tx.Rollback() }) // it fails: the connection has gone
			_, err = tx.ExecContext(t.Context(), "INSERT INTO t VALUES (1)")
			require.NoError(t, err)
		})
		found := kind.ask(t, open(t, server.Create(t)),
			"SELECT COUNT(*) FROM pg_database WHERE datname = '"+name+"'",
			"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '"+name+"'")
		assert.Equal(t, "0", found)
	})
}

func TestKill(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.own(t)
		dsn := server.Create(t)
		db := open(t, dsn)
		execute(t, db, "CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)")

		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "INSERT INTO t VALUES (2)")
		require.NoError(t, err)

		before := server.Pid()
		table, err := processTable()
		require.NoError(t, err)
		all := append(descendants(table, before), before)
		if kind.name == "PostgreSQL" {
			require.Greater(t, len(all), 3, "it has children")
		}
		server.Kill(t)
		assert.Zero(t, server.Pid())
		table, err = processTable()
		require.NoError(t, err)
		for _, pid := range all {
			if entry, found := table[pid]; found {
				assert.Equal(t, byte('Z'), entry.state, "process %d of %v", pid, all)
			}
		}
		assert.ErrorContains(t, db.PingContext(t.Context()), "connection refused")
		assert.Error(t, tx.Commit())
		assert.Equal(t, "failed", observe(t, server.Kill).how, "it does not run")
		assert.Equal(t, "failed", observe(t, server.Stop).how, "it does not run")

		server.Start(t)
		assert.NotZero(t, server.Pid())
		assert.NotEqual(t, before, server.Pid())
		assert.Equal(t, "failed", observe(t, server.Start).how, "it runs")
		assert.Equal(t, "1", kind.ask(t, open(t, dsn), "SELECT STRING_AGG(a::text, ',') FROM t", "SELECT GROUP_CONCAT(a) FROM t"))

		// As the last thing of the test: it is removed all the same.
		server.Kill(t)
	})
}

func TestStop(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.own(t)
		dsn := server.Create(t)
		db := open(t, dsn)
		execute(t, db, "CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)")
		server.Stop(t)
		assert.Zero(t, server.Pid())
		assert.Error(t, db.PingContext(t.Context()))
		log := server.process.output()
		assert.True(t, strings.Contains(log, "database system is shut down") || strings.Contains(log, "Shutdown complete"), log)
		server.Start(t)
		assert.NotContains(t, server.process.output(), "recover")
		assert.Equal(t, "1", kind.ask(t, open(t, dsn), "SELECT COUNT(*) FROM t", "SELECT COUNT(*) FROM t"))
	})
}

// TestTwo kills one of two servers.
func TestTwo(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		first, second := kind.own(t), kind.own(t)
		assert.NotEqual(t, first.port, second.port)
		firstName, secondName := first.Create(t), second.Create(t)
		execute(t, open(t, firstName), "CREATE TABLE t (a INT)")
		execute(t, open(t, secondName), "CREATE TABLE t (a INT)")
		first.Kill(t)
		execute(t, open(t, secondName), "INSERT INTO t VALUES (1)")
	})
}

// TestPortTaken starts a server on the port of another.
func TestPortTaken(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		first, second := kind.own(t), kind.own(t)
		second.Stop(t)
		second.port = first.port
		assert.ErrorIs(t, second.start(t.Context()), errPortTaken)
		execute(t, open(t, first.Create(t)), "CREATE TABLE t (a INT)")
	})
}

// TestDurability looks at the settings on which tests of crashes rely.
func TestDurability(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		db := open(t, Postgres(t).Create(t))
		for name, want := range map[string]string{
			"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": "127.0.0.1",
			"max_connections": "200",
		} {
			var value string
			require.NoError(t, db.QueryRowContext(t.Context(), "SHOW "+name).Scan(&value))
			assert.Equal(t, want, value, name)
		}
	})
	t.Run("MariaDB", func(t *testing.T) {
		db := open(t, MariaDB(t).Create(t))
		for name, want := range map[string]string{
			"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "1", "bind_address": "127.0.0.1",
			"max_connections": "200", "default_storage_engine": "InnoDB",
		} {
			var value string
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT @@"+name).Scan(&value))
			assert.Equal(t, want, value, name)
		}
	})
}

func TestWithSetting(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.own(t, WithSetting("max_connections", "57"))
		assert.Equal(t, "57", kind.ask(t, open(t, server.Create(t)), "SHOW max_connections", "SELECT @@max_connections"))
	})
	// What the server says is in the error.
	_, err := newServer(t.Context(), postgres{}, options{settings: [][2]string{{"no_such_setting", "1"}}})
	var missing *missingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	assert.ErrorContains(t, err, `unrecognized configuration parameter "no_such_setting"`)
}
