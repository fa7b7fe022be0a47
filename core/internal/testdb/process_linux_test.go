package testdb

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestThread starts a server from a thread that ends.
func TestThread(t *testing.T) {
	var server *Server
	var dsn string
	var start func(testing.TB)
	start = func(tb testing.TB) {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			// The first thread of a process never ends. While this goroutine
			// has it, the next one gets another.
			defer runtime.UnlockOSThread()
			result := observe(t, start)
			if result.how == "skipped" {
				tb.Skipf("%s", result.message)
			}
			require.Equal(tb, "passed", result.how, result.message)
			return
		}
		// Never unlocked, the thread ends with the goroutine.
		server = NewPostgres(tb)
		dsn = server.Create(tb)
	}
	result := observe(t, start)
	if result.how == "skipped" {
		t.Skip(result.message)
	}
	require.Equal(t, "passed", result.how, result.message)
	execute(t, open(t, dsn), "CREATE TABLE t (a INT)", "SELECT pg_sleep(0.1)")
	assert.NotZero(t, server.Pid())
}
