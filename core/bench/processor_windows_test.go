package bench

import (
	"syscall"
	"time"
)

// processorTime returns the CPU time of this process.
func processorTime() (time.Duration, error) {
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, err
	}
	var created, ended, kernel, user syscall.Filetime
	err = syscall.GetProcessTimes(process, &created, &ended, &kernel, &user)
	return spent(kernel) + spent(user), err
}

// spent converts a duration from units of 100 ns.
func spent(t syscall.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
