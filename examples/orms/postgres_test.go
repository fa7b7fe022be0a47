package orms_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a PostgreSQL server for the tests of this process.
type server struct {
	once      sync.Once
	err       error
	directory string
	port      int
	command   *exec.Cmd
	lifeline  io.Closer // the server ends when it is closed, also by the end of this process
	databases atomic.Int64
}

var shared server

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// errMissing says that PostgreSQL is not installed.
var errMissing = errors.New("the tests on PostgreSQL need its programs initdb and postgres")

// newDatabase returns the data source name of a new database. Where PostgreSQL is
// not installed the test is skipped; with POSTOFFICE_CI=1 it fails.
func newDatabase(t *testing.T) string {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.start(t.Context()) })
	if errors.Is(shared.err, errMissing) && os.Getenv("POSTOFFICE_CI") != "1" {
		t.Skip(shared.err)
	}
	require.NoError(t, shared.err)
	db, err := sql.Open("pgx", shared.dsn("postgres"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	name := fmt.Sprintf("shop%d", shared.databases.Add(1))
	_, err = db.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	return shared.dsn(name)
}

func (s *server) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// start makes a cluster in a directory of its own and runs a server on a free
// port.
func (s *server) start(ctx context.Context) error {
	programs, err := findPrograms()
	if err != nil {
		return err
	}
	if s.directory, err = os.MkdirTemp("", "postoffice-orms-"); err != nil {
		return err
	}
	// PostgreSQL does not run as root.
	var as []string
	if os.Geteuid() == 0 {
		as = []string{"runuser", "-u", "postgres", "--"}
		if err := giveToPostgres(s.directory); err != nil {
			return err
		}
	}
	data := filepath.Join(s.directory, "data")
	initdb := append(as, filepath.Join(programs, "initdb"), "--pgdata="+data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	if output, err := exec.CommandContext(ctx, initdb[0], initdb[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	// The shell reads from this process until it ends.
	script := `"$@" & read -r end; kill -QUIT $!; wait $!; exit 0`
	serve := append(as, "sh", "-c", script, "sh", filepath.Join(programs, "postgres"), "-D", data, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap")
	s.command = exec.Command(serve[0], serve[1:]...) // not of the first test's context
	log, err := os.Create(filepath.Join(s.directory, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has it, too
	s.command.Stdout, s.command.Stderr = log, log
	if s.lifeline, err = s.command.StdinPipe(); err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return err
	}
	return s.answers(ctx)
}

// answers waits until the server answers.
func (s *server) answers(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var data string
		err := db.QueryRowContext(ctx, "SHOW data_directory").Scan(&data)
		if err == nil && filepath.Dir(data) == s.directory {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.directory, "log"))
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", errors.Join(err, ctx.Err()), log)
		case <-tick.C:
		}
	}
}

// stop ends the server, if it runs, and removes its files.
func (s *server) stop() error {
	if s.directory == "" {
		return nil
	}
	var err error
	if s.command != nil && s.command.Process != nil {
		err = errors.Join(s.lifeline.Close(), s.command.Wait())
	}
	return errors.Join(err, os.RemoveAll(s.directory))
}

// findPrograms returns the directory of PostgreSQL's programs. Debian keeps those of each
// version off the path.
func findPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errMissing, err)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func giveToPostgres(directory string) error {
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	return os.Chown(directory, uid, gid)
}

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
