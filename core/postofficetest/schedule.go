package postofficetest

import (
	"strconv"
	"strings"
	"time"
)

// maxYear is the last year that the server supports.
const maxYear = 9999

// parseSchedule parses a schedule_at like the server: an ISO 8601 date, possibly
// with a plus sign, T or a space, a time with seconds, and an offset. time.Parse is
// both more and less strict.
func parseSchedule(text string) (time.Time, bool) {
	const layout = "2006-01-02T15:04:05"
	text = strings.TrimPrefix(text, "+")
	if len(text) <= len(layout) {
		return time.Time{}, false
	}
	date, clock, rest := text[:10], text[11:len(layout)], text[len(layout):]
	if text[10] != 'T' && text[10] != ' ' {
		return time.Time{}, false
	}
	moment, err := time.Parse(layout, date+"T"+clock)
	if err != nil {
		return time.Time{}, false
	}
	if rest[0] == '.' || rest[0] == ',' {
		digits := len(rest[1:]) - len(strings.TrimLeft(rest[1:], "0123456789"))
		if digits == 0 {
			return time.Time{}, false
		}
		micros, _ := strconv.Atoi((rest[1:1+digits] + "000000")[:6])
		moment = moment.Add(time.Duration(micros) * time.Microsecond)
		rest = rest[1+digits:]
	}
	offset, ok := parseOffset(rest)
	moment = moment.Add(-offset)
	return moment, ok && moment.Year() <= maxYear
}

// parseOffset parses Z, +02:00, -0530 or +02. A negative zero is rejected.
func parseOffset(text string) (time.Duration, bool) {
	if text == "Z" {
		return 0, true
	}
	if text == "" || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	for _, layout := range []string{"15:04", "1504", "15"} {
		if len(text)-1 != len(layout) {
			continue
		}
		moment, err := time.Parse(layout, text[1:])
		if err != nil {
			return 0, false
		}
		offset := time.Duration(moment.Hour())*time.Hour + time.Duration(moment.Minute())*time.Minute
		if text[0] == '+' {
			return offset, true
		}
		return -offset, offset != 0
	}
	return 0, false
}
