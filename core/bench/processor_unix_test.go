//go:build unix

package bench

import (
	"syscall"
	"time"
)

// processorTime returns the CPU time of this process.
func processorTime() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
