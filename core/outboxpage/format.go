package outboxpage

import (
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// stateOf returns the badge of a message's state.
func stateOf(r outbox.Record, now time.Time) webpage.Badge {
	switch {
	case r.State == outbox.Dead:
		return webpage.Bad("dead")
	case held(r, now):
		return webpage.Plain("held")
	case r.Attempts > 0:
		return webpage.Busy("retrying")
	default:
		return webpage.Busy("waiting")
	}
}

// held reports whether a claim holds a message.
func held(r outbox.Record, now time.Time) bool {
	return r.State == outbox.Pending && r.LeaseToken != "" && r.DueAt.After(now)
}

// nextAttempt returns the time of a message's next attempt; without Machine if there
// is none.
func nextAttempt(r outbox.Record, now time.Time) webpage.Moment {
	switch {
	case r.State == outbox.Dead:
		return webpage.Moment{Text: "none"}
	case held(r, now):
		return momentOf(r.DueAt, now, "in progress, else "+in(r.DueAt.Sub(now)))
	default:
		return momentOf(r.DueAt, now, in(r.DueAt.Sub(now)))
	}
}

// momentOf returns a time, in the time zone of now, with the text to show.
func momentOf(t, now time.Time, text string) webpage.Moment {
	return webpage.MomentOf(t.In(now.Location()), text)
}

// in formats the time until something.
func in(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return "in " + span(d)
}

// ago formats the time since something.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span formats a duration in its largest unit, rounded.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		name string
		size time.Duration
	}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", day}}
	unit := units[0]
	for _, next := range units[1:] {
		// Use the larger unit from 1.5 of it.
		if d.Round(unit.size) >= next.size*3/2 {
			unit = next
		}
	}
	return webpage.Counted(int(max(d.Round(unit.size)/unit.size, 0)), unit.name, unit.name+"s")
}

// size formats a number of bytes in the largest unit that fits.
func size(bytes int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if bytes < 1000 {
		return webpage.Counted(int(bytes), "byte", "bytes")
	}
	value, unit := float64(bytes)/1000, 0
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, units[unit])
	}
	return fmt.Sprintf("%.0f %s", value, units[unit])
}
