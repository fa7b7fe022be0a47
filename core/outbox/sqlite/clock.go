package sqlite

import "time"

// clock is the time of an open store: the wall clock when the store was opened, plus
// the time elapsed since. Setting the wall clock neither ends leases early nor
// delays records.
type clock struct {
	wall   time.Time // without a monotonic reading
	opened time.Time
}

func newClock() clock {
	now := time.Now()
	return clock{wall: now.Round(0), opened: now}
}

func (c clock) now() time.Time { return c.wall.Add(time.Since(c.opened)) }
