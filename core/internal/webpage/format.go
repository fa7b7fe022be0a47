package webpage

import (
	"strconv"
	"time"
)

// Badge is a short text with a colour: "good", "bad", "busy", or none.
type Badge struct{ Text, Tone string }

// Good returns a badge for success.
func Good(text string) Badge { return Badge{text, "good"} }

// Bad returns a badge for a failure.
func Bad(text string) Badge { return Badge{text, "bad"} }

// Busy returns a badge for something in progress or waiting.
func Busy(text string) Badge { return Badge{text, "busy"} }

// Plain returns a badge without a colour.
func Plain(text string) Badge { return Badge{text, ""} }

// Moment is a time on a page: Machine for the datetime attribute, Full for the title,
// and Text as the visible text. Without Machine it is only a text.
type Moment struct{ Machine, Full, Text string }

// MomentOf returns a time, in its own time zone, with its visible text.
func MomentOf(t time.Time, text string) Moment {
	return Moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 MST"), text}
}

// Counted returns a number with its noun, such as "1 message".
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Grouped(n) + " " + many
}

// Grouped returns a number with thousands separators, such as "1,234".
func Grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
