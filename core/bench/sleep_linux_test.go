package bench

import (
	"syscall"
	"time"
)

// sleep sleeps with the timers of the kernel, which are more precise than those
// of the runtime. It occupies a thread.
func sleep(d time.Duration) {
	request := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&request, nil) // a signal ends it early
}
