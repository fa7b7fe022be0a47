package testdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// PgBouncer is [NewPgBouncer] with one connection to the server, so that other
// clients see what a client leaves in a session.
func PgBouncer(tb testing.TB, dsn string) string {
	tb.Helper()
	return NewPgBouncer(tb, dsn, 1)
}

// NewPgBouncer starts a connection pooler for one test, in front of a database that
// [Server.Create] of a PostgreSQL server returned, possibly through a [Proxy], and
// returns the data source name of the database through the pooler. The pooler
// assigns a connection to each transaction (mode "transaction") and does not support
// prepared statements. It ends with the test. If PgBouncer is not installed, the
// test is skipped, or fails with POSTOFFICE_CI=1.
func NewPgBouncer(tb testing.TB, dsn string, connections int) string {
	tb.Helper()
	pooled, stop, err := startPgBouncer(tb.Context(), dsn, connections)
	need(tb, err)
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	return pooled
}

// pgBouncer is the pooler's configuration: the port of the server, its own port, the
// file of users, the number of its connections, and more settings. It tries an
// unavailable server again after one second instead of 15.
const pgBouncer = `[databases]
* = host=127.0.0.1 port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
%s
`

// unprepared makes newer versions ignore prepared statements, as older ones do.
const unprepared = "max_prepared_statements = 0"

func startPgBouncer(ctx context.Context, dsn string, connections int) (pooled string, stop func() error, err error) {
	binary, err := program("pgbouncer", "/usr/sbin", "/usr/local/sbin")
	if err != nil {
		return "", nil, fmt.Errorf("needs PgBouncer: %w", err)
	}
	address, err := url.Parse(dsn)
	if err != nil {
		return "", nil, err
	}
	// PgBouncer refuses to run as root.
	dir, err := newDirectory(postgres{}.user())
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.remove())
		}
	}()
	users := filepath.Join(dir.path, "users")
	if err := os.WriteFile(users, fmt.Appendf(nil, "%q \"\"\n", address.User.Username()), 0o644); err != nil {
		return "", nil, err
	}
	server, more := address.Port(), unprepared
	for range 10 {
		port, err := freePort(ctx)
		if err != nil {
			return "", nil, err
		}
		address.Host = "127.0.0.1:" + strconv.Itoa(port)
		configuration := filepath.Join(dir.path, "pgbouncer.ini")
		if err := os.WriteFile(configuration, fmt.Appendf(nil, pgBouncer, server, port, users, connections, more), 0o644); err != nil {
			return "", nil, err
		}
		p, err := launch(dir, syscall.SIGKILL, filepath.Join(dir.path, "log"), environment(), binary, configuration)
		if err != nil {
			return "", nil, err
		}
		switch err := p.answersAt(ctx, address.String()); {
		case err == nil:
			return address.String(), func() error { p.kill(); return dir.remove() }, nil
		case p.says("unknown parameter"):
			more = ""
		case !errors.Is(err, errPortTaken):
			p.kill()
			return "", nil, fmt.Errorf("PgBouncer: %w\n%s", err, p.output())
		}
	}
	return "", nil, errPortTaken
}

// answersAt waits until a pooler answers.
func (p *process) answersAt(ctx context.Context, dsn string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := Open(dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil && p.running() {
			return nil
		}
		select {
		case <-p.done:
			if p.says("Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("the pooler has ended: %v", p.command.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("the pooler does not answer: %w", err)
		case <-ticker.C:
		}
	}
}
