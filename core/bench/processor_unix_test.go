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

// sleep sleeps with the timers of the kernel, which are more precise than those
// of the runtime. It occupies a thread.
func sleep(d time.Duration) {
	request := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&request, nil) // a signal ends it early
}
