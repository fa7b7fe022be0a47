package bench

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// processorTime is the time that this process has spent on processors.
func processorTime(tb testing.TB) time.Duration {
	process, err := syscall.GetCurrentProcess()
	require.NoError(tb, err)
	var created, ended, kernel, user syscall.Filetime
	require.NoError(tb, syscall.GetProcessTimes(process, &created, &ended, &kernel, &user))
	return spent(kernel) + spent(user)
}

// spent is a span of time that Windows tells in units of 100 ns.
func spent(t syscall.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
