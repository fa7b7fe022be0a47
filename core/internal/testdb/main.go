package testdb

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// Runner runs a package's tests like [Main], for functions that take a value with a
// method Run, such as goleak.VerifyTestMain.
type Runner struct{ M *testing.M }

// Run calls [Main].
func (r Runner) Run() int { return Main(r.M) }

// usesMain means that Main will stop the shared servers.
var usesMain atomic.Bool

// Main runs a package's tests, stops the shared servers, and returns the exit code.
// Call it from TestMain in every package that uses [Postgres] or [MariaDB]:
//
//	func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }
func Main(m *testing.M) int {
	usesMain.Store(true)
	code := m.Run()
	if err := errors.Join(sharedPostgres.discard(), sharedMariaDB.discard()); err != nil {
		fmt.Fprintln(os.Stderr, "testdb:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

// shared is a server that is started on first use.
type shared struct {
	engine engine

	once   sync.Once
	server *Server
	err    error
}

var (
	sharedPostgres = &shared{engine: postgres{}}
	sharedMariaDB  = &shared{engine: mariadb{}}
)

func (s *shared) get(tb testing.TB) *Server {
	tb.Helper()
	if !usesMain.Load() {
		tb.Fatal("testdb: TestMain of this package must call testdb.Main, which stops the shared servers")
	}
	s.once.Do(func() {
		s.server, s.err = newShared(tb.Context(), s.engine)
		if s.err == nil {
			s.server.shared = true
		}
	})
	need(tb, s.err)
	return s.server
}

func (s *shared) discard() error {
	if s.server == nil || s.server.isExternal() {
		return nil
	}
	return s.server.discard()
}

// Postgres returns the PostgreSQL server that the tests of this process share. It is
// started on first use and stopped by [Main]. If PostgreSQL is not installed, the
// test is skipped, or fails with POSTOFFICE_CI=1.
func Postgres(tb testing.TB) *Server {
	tb.Helper()
	return sharedPostgres.get(tb)
}

// MariaDB returns the MariaDB server that the tests of this process share. It is
// started on first use and stopped by [Main]. If MariaDB is not installed, the test
// is skipped, or fails with POSTOFFICE_CI=1.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	return sharedMariaDB.get(tb)
}

// missingError names a program that is not installed.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what }

// need ends the test after an error. If something is not installed, the test is
// skipped, unless POSTOFFICE_CI=1.
func need(tb testing.TB, err error) {
	tb.Helper()
	var missing *missingError
	switch {
	case err == nil:
	case !errors.As(err, &missing):
		tb.Fatalf("testdb: %v", err)
	case os.Getenv("POSTOFFICE_CI") == "1":
		tb.Fatalf("testdb: %v; with POSTOFFICE_CI=1 it must be installed", err)
	default:
		tb.Skipf("testdb: %v", err)
	}
}
