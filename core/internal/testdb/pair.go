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
	// Asynchronous commits wait for the primary alone. What it has not sent yet
	// is lost with it.
	Asynchronous Replication = iota
	// Synchronous commits wait until the standby has flushed them to its disk,
	// for as long as it is away.
	Synchronous
)

// PostgresPair is a PostgreSQL primary and its standby, by streaming replication.
// Its methods must not be called concurrently.
type PostgresPair struct {
	// Primary takes writes, Standby only reads. Promote exchanges them.
	Primary, Standby *Server
	replication      Replication
	copyProgram      string
}

// NewPostgresPair starts two servers for one test, which takes about two seconds,
// and removes them when the test ends. Where PostgreSQL is not installed the test
// is skipped; with POSTOFFICE_CI=1 it fails.
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

// withData has a server start on data that a function makes.
func withData(initialise func(context.Context, *Server) error) Option {
	return func(o *options) { o.initialise = initialise }
}

// copyOf returns what makes a standby's data directory from a running server.
func (p *PostgresPair) copyOf(primary *Server) func(context.Context, *Server) error {
	return func(ctx context.Context, standby *Server) error {
		return standby.run(ctx, p.copyProgram, "--dbname="+primary.engine.dsn(primary.port, ""),
			"--pgdata="+standby.directory.data(), "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	}
}

// Create makes an empty database on both servers and returns its data source name
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

// Promote makes a primary of the standby and exchanges Primary and Standby. The
// old primary is left alone: a test has ended it before, or has two primaries. The
// new one waits for no standby until Rejoin.
func (p *PostgresPair) Promote(tb testing.TB) {
	tb.Helper()
	// pg_promote waits until it is done.
	if err := command(tb.Context(), p.Standby, "SELECT pg_promote()"); err != nil {
		tb.Fatalf("testdb: promoting the standby: %v", err)
	}
	p.Primary, p.Standby = p.Standby, p.Primary
}

// Switch exchanges the roles in an orderly way, and leaves the connections to the
// old primary open: that is made read-only, and when the standby has caught up it is
// promoted.
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

// Rejoin starts the server that was the primary before Promote as the standby of
// the new one, on a copy of its data. It ends the server first if that runs.
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

// replicate waits until the standby follows the primary, and has commits wait for
// it if they are to.
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

// caughtUp waits until the standby has replayed what the primary has committed.
func (p *PostgresPair) caughtUp(ctx context.Context) error {
	return p.await(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn())")
}

// await waits until a query of the primary answers true.
func (p *PostgresPair) await(ctx context.Context, query string) error {
	return awaitAnswer(ctx, p.Primary, query, "true")
}

// command executes a statement on a connection of its own.
func command(ctx context.Context, server *Server, statement string) error {
	return connected(ctx, server, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement)
		return err
	})
}

// awaitAnswer waits until a query for one value answers as wanted.
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

// connected calls a function with a database of the server's that is always there.
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
