package sqlite

import "time"

// clock is that of a store while it is open: the wall clock's time when it
// was opened and the time that has passed since. Somebody who sets the wall
// clock meanwhile ends no lease early and makes nothing wait longer.
type clock struct {
	wall   time.Time // without a monotonic reading
	opened time.Time
}

func newClock() clock {
	now := time.Now()
	return clock{wall: now.Round(0), opened: now}
}

func (c clock) now() time.Time { return c.wall.Add(time.Since(c.opened)) }
