package testdb

import (
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The check for goroutines comes after the shared servers have stopped.
func TestMain(m *testing.M) { goleak.VerifyTestMain(Runner{M: m}) }

// eachEngine runs a test with each kind of server.
func eachEngine(t *testing.T, test func(t *testing.T, kind kind)) {
	for _, kind := range []kind{
		{name: "PostgreSQL", shared: Postgres, own: NewPostgres},
		{name: "MariaDB", shared: MariaDB, own: NewMariaDB},
	} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind) })
	}
}

type kind struct {
	name   string
	shared func(testing.TB) *Server
	own    func(testing.TB, ...Option) *Server
}

// ask returns what one of two queries answers, by the kind of the server.
func (k kind) ask(t *testing.T, db *sql.DB, onPostgres, onMariaDB string) string {
	t.Helper()
	query := onPostgres
	if k.name == "MariaDB" {
		query = onMariaDB
	}
	var answer string
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&answer))
	return answer
}

// open opens a database until the test ends.
func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := Open(dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// execute executes statements.
func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

func TestShared(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.shared(t)
		assert.Same(t, server, kind.shared(t))
		assert.NotZero(t, server.Pid())
		for name, call := range map[string]func(testing.TB){"Kill": server.Kill, "Stop": server.Stop, "Start": server.Start} {
			outcome := observe(t, call)
			assert.Equal(t, "failed", outcome.how, name)
			assert.Contains(t, outcome.message, "NewPostgres or NewMariaDB", name)
		}
		execute(t, open(t, server.Create(t)), "CREATE TABLE still_there (a INT)")
	})
}

func TestSharedWithoutMain(t *testing.T) {
	usesMain.Store(false)
	defer usesMain.Store(true)
	outcome := observe(t, func(tb testing.TB) { Postgres(tb) })
	assert.Equal(t, "failed", outcome.how)
	assert.Contains(t, outcome.message, "testdb.Main")
}

func TestNotInstalled(t *testing.T) {
	_, err := program("postoffice-no-such-program", "/usr/bin")
	require.Error(t, err)
	assert.ErrorContains(t, err, "postoffice-no-such-program is not installed")
	err = fmt.Errorf("needs it: %w", err)
	for _, test := range []struct {
		ci   string
		err  error
		want string
	}{
		{"", err, "skipped"},
		{"1", err, "failed"},
		{"", errors.New("another error"), "failed"},
		{"1", errors.New("another error"), "failed"},
		{"", nil, "passed"},
		{"1", nil, "passed"},
	} {
		t.Setenv("POSTOFFICE_CI", test.ci)
		outcome := observe(t, func(tb testing.TB) { need(tb, test.err) })
		assert.Equal(t, test.want, outcome.how, "%q, %v", test.ci, test.err)
		if test.err != nil {
			assert.Contains(t, outcome.message, test.err.Error())
		}
	}
}

// outcome is how a test ended.
type outcome struct {
	testing.TB
	how     string
	message string
}

// observe runs a function as a test and returns its outcome.
func observe(t *testing.T, test func(testing.TB)) *outcome {
	o := &outcome{TB: t, how: "passed"}
	var group sync.WaitGroup
	group.Go(func() { test(o) })
	group.Wait()
	return o
}

func (o *outcome) end(how, message string) {
	o.how, o.message = how, message
	runtime.Goexit()
}

func (o *outcome) Fatal(arguments ...any) { o.end("failed", fmt.Sprint(arguments...)) }
func (o *outcome) Fatalf(format string, arguments ...any) {
	o.end("failed", fmt.Sprintf(format, arguments...))
}
func (o *outcome) Skipf(format string, arguments ...any) {
	o.end("skipped", fmt.Sprintf(format, arguments...))
}
