package webpage

import (
	"strconv"
	"time"
)

// Badge is a short text with a colour: "good", "bad", "busy", or none.
type Badge struct{ Text, Tone string }

// Good returns a badge for what is as it should be.
func Good(text string) Badge { return Badge{text, "good"} }

// Bad returns a badge for what went wrong.
func Bad(text string) Badge { return Badge{text, "bad"} }

// Busy returns a badge for what is under way or waits.
func Busy(text string) Badge { return Badge{text, "busy"} }

// Plain returns a badge without a colour.
func Plain(text string) Badge { return Badge{text, ""} }

// Moment is a time as a page shows it: Machine for the datetime attribute, Full
// for the title, Text for the eye. Without Machine it is a text alone.
type Moment struct{ Machine, Full, Text string }

// MomentOf returns a time, in the zone it has, with its text for the eye.
func MomentOf(t time.Time, text string) Moment {
	return Moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 MST"), text}
}

// Counted is a number with its noun.
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Grouped(n) + " " + many
}

// Grouped is a number with its thousands apart.
func Grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
