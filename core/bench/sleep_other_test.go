//go:build !linux

package bench

import "time"

// sleep sleeps with the timers of the runtime.
func sleep(d time.Duration) { time.Sleep(d) }
