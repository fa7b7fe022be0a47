package outboxpage

import (
	"fmt"
	"strconv"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// moment is a time as a page shows it: Machine for the datetime attribute,
// Full for the title, Text for the eye.
type moment struct{ Machine, Full, Text string }

func momentOf(t time.Time, text string) moment {
	t = t.Local()
	return moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 MST"), text}
}

// badge is a short text with a colour: "good", "bad", "busy", or none.
type badge struct{ Text, Tone string }

// stateOf says how a message is.
func stateOf(r outbox.Record, now time.Time) badge {
	switch {
	case r.State == outbox.Dead:
		return badge{"dead", "bad"}
	case held(r, now):
		return badge{"held", ""}
	case r.Attempts > 0:
		return badge{"retrying", "busy"}
	default:
		return badge{"waiting", "busy"}
	}
}

// held reports whether a claim holds a message.
func held(r outbox.Record, now time.Time) bool {
	return r.State == outbox.Pending && r.LeaseToken != "" && r.DueAt.After(now)
}

// nextAttempt says when a message is tried again. Its Machine is empty when
// that is no time.
func nextAttempt(r outbox.Record, now time.Time) moment {
	switch {
	case r.State == outbox.Dead:
		return moment{Text: "none"}
	case held(r, now):
		return momentOf(r.DueAt, "under way, else "+in(r.DueAt.Sub(now)))
	default:
		return momentOf(r.DueAt, in(r.DueAt.Sub(now)))
	}
}

// in says how far off something is.
func in(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return "in " + span(d)
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span is a duration in its largest unit, rounded.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		name string
		size time.Duration
	}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", day}}
	unit := units[0]
	for _, next := range units[1:] {
		// From one and a half of the larger unit on it is that.
		if d.Round(unit.size) >= next.size*3/2 {
			unit = next
		}
	}
	return counted(int(max(d.Round(unit.size)/unit.size, 0)), unit.name, unit.name+"s")
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

// grouped is a number with its thousands apart.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size is a number of bytes in the largest unit that fits.
func size(bytes int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if bytes < 1000 {
		return counted(int(bytes), "byte", "bytes")
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
