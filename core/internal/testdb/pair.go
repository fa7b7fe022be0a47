package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Replication says whether a commit waits for the standby.
type Replication int

const (
	// Asynchronous commits do not wait for the standby. Changes that the primary has
	// not sent are lost with it.
	Asynchronous Replication = iota
	// Synchronous commits wait until the standby has flushed them to its disk, also
	// while it is unavailable.
	Synchronous
)

// PostgresPair is a PostgreSQL primary and its standby, by streaming replication.
// Its methods must not be called concurrently.
type PostgresPair struct {
	// Primary accepts writes, Standby is read-only. Promote exchanges them.
	Primary, Standby *Server
	replication      Replication
	copyProgram      string
}

// NewPostgresPair starts two servers for one test, which takes about two seconds,
// and removes them when the test ends. If PostgreSQL is not installed, the test is
// skipped, or fails with POSTOFFICE_CI=1.
func NewPostgresPair(tb testing.TB, replication Replication, options ...Option) *PostgresPair {
	tb.Helper()
	p := &PostgresPair{replication: replication}
	p.Primary = NewPostgres(tb, options...)
	var err error
	p.copyProgram, err = program("pg_basebackup", filepath.Dir(p.Primary.programs.initialise))
	need(tb, err)
	p.Standby = NewPostgres(tb, slices.Concat(options, []Option{withData(p.copyOf(p.Primary))})...)
	if err := p.replicate(tb.Context()); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	return p
}

// withData makes a server start with data created by a function.
func withData(initialise func(context.Context, *Server) error) Option {
	return func(o *options) { o.initialise = initialise }
}

// copyOf returns a function that creates a standby's data directory from a running
// server.
func (p *PostgresPair) copyOf(primary *Server) func(context.Context, *Server) error {
	return func(ctx context.Context, standby *Server) error {
		return standby.run(ctx, p.copyProgram, "--dbname="+primary.engine.dsn(primary.port, ""),
			"--pgdata="+standby.directory.data(), "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	}
}

// Create creates an empty database on both servers and returns its data source name
// on the primary. It is removed with the servers.
func (p *PostgresPair) Create(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", p.Primary.databases.Add(1))
	err := p.Primary.create(tb.Context(), name)
	if err == nil {
		err = p.caughtUp(tb.Context())
	}
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	return p.Primary.engine.dsn(p.Primary.port, name)
}

// Promote promotes the standby and exchanges Primary and Standby. It does not stop
// the old primary: the test has stopped it before, or has two primaries. Commits on
// the new primary wait for no standby until Rejoin.
func (p *PostgresPair) Promote(tb testing.TB) {
	tb.Helper()
	// pg_promote waits for its completion.
	if err := command(tb.Context(), p.Standby, "SELECT pg_promote()"); err != nil {
		tb.Fatalf("testdb: promoting the standby: %v", err)
	}
	p.Primary, p.Standby = p.Standby, p.Primary
}

// Switch exchanges the roles in a controlled way and keeps the connections to the
// old primary open: the primary is made read-only, and the standby is promoted when
// it has caught up.
func (p *PostgresPair) Switch(tb testing.TB) {
	tb.Helper()
	for _, statement := range []string{"ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"} {
		if err := command(tb.Context(), p.Primary, statement); err != nil {
			tb.Fatalf("testdb: making the primary read-only: %v", err)
		}
	}
	if err := p.caughtUp(tb.Context()); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	p.Promote(tb)
}

// Rejoin starts the former primary as the standby of the new one, on a copy of its
// data. It ends the server first if it is running.
func (p *PostgresPair) Rejoin(tb testing.TB) {
	tb.Helper()
	if p.Standby.Pid() != 0 {
		p.Standby.Kill(tb)
	}
	ctx := tb.Context()
	p.Standby.engine.release(ctx, p.Standby.directory.data())
	err := os.RemoveAll(p.Standby.directory.data())
	if err == nil {
		err = p.copyOf(p.Primary)(ctx, p.Standby)
	}
	if err == nil {
		p.Standby.Start(tb)
		err = p.replicate(ctx)
	}
	if err != nil {
		tb.Fatalf("testdb: rejoining the standby: %v", err)
	}
}

// replicate waits until the standby follows the primary, and makes commits wait for
// it if replication is synchronous.
func (p *PostgresPair) replicate(ctx context.Context) error {
	if p.replication == Synchronous {
		for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
			if err := command(ctx, p.Primary, statement); err != nil {
				return err
			}
		}
		return p.await(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
	}
	return p.await(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
}

// caughtUp waits until the standby has replayed the commits of the primary.
func (p *PostgresPair) caughtUp(ctx context.Context) error {
	return p.await(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn())")
}

// await waits until a query of the primary returns true.
func (p *PostgresPair) await(ctx context.Context, query string) error {
	return awaitAnswer(ctx, p.Primary, query, "true")
}

// command executes a statement on a separate connection.
func command(ctx context.Context, server *Server, statement string) error {
	return connected(ctx, server, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement)
		return err
	})
}

// awaitAnswer waits until a query for one value returns the wanted one.
func awaitAnswer(ctx context.Context, server *Server, query, want string) error {
	return connected(ctx, server, func(ctx context.Context, db *sql.DB) error {
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		for {
			var got string
			err := db.QueryRowContext(ctx, query).Scan(&got)
			if err == nil && got == want {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %s is %q, not %q: %w", server.engine.name(), query, got, want, errors.Join(err, ctx.Err()))
			case <-ticker.C:
			}
		}
	})
}

// connected calls a function with the server's database that always exists.
func connected(ctx context.Context, server *Server, call func(context.Context, *sql.DB) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := Open(server.engine.dsn(server.port, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return call(ctx, db)
}
