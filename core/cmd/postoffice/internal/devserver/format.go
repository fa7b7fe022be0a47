package devserver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// momentOf returns a time whose text omits the date if it is today.
func momentOf(t, now time.Time) webpage.Moment {
	local, today := t.Local(), now.Local()
	layout := "15:04:05"
	if local.YearDay() != today.YearDay() || local.Year() != today.Year() {
		layout = "2006-01-02 15:04:05"
	}
	return webpage.MomentOf(local, local.Format(layout))
}

// jobBadge returns the badge of a job's state.
func jobBadge(status postofficetest.JobStatus, paused bool) webpage.Badge {
	switch status.State {
	case postofficetest.Pending:
		switch {
		case status.UnderWay:
			return webpage.Busy("in progress")
		case paused:
			return webpage.Plain("paused")
		case status.Attempts > 0:
			return webpage.Bad("waiting for retry")
		default:
			return webpage.Busy("waiting")
		}
	case postofficetest.Delivered:
		return webpage.Good("delivered")
	case postofficetest.Kept:
		return webpage.Plain("kept, not sent")
	case postofficetest.Discarded, postofficetest.Cancelled:
		return webpage.Plain(status.State.String())
	default:
		return webpage.Bad(status.State.String())
	}
}

// outcome returns the result of an attempt: a badge with a word or the status, and the
// details.
func outcome(d postofficetest.Delivery) (badge webpage.Badge, detail string) {
	switch {
	case d.Err != nil:
		return webpage.Bad(wordOf(d.Err.Error())), webpage.Shown(strings.TrimPrefix(strings.TrimPrefix(d.Err.Error(), "postofficetest: "), "no answer: "), maxReason)
	case d.Acknowledged():
		return webpage.Good(strconv.Itoa(d.Status)), http.StatusText(d.Status)
	default:
		return webpage.Bad(strconv.Itoa(d.Status)), http.StatusText(d.Status)
	}
}

// wordOf returns a word for the reason why there was no response. It searches the text,
// because the server's file only keeps the text of an error.
func wordOf(text string) string {
	if !strings.Contains(text, "no answer: ") {
		return "not sent"
	}
	for _, known := range []struct{ word, part string }{
		{"refused", "refused"}, {"timeout", "deadline exceeded"}, {"timeout", "timeout"}, {"timeout", "timed out"},
		{"unknown host", "no such host"}, {"unknown host", "server misbehaving"},
		{"reset", "connection reset"}, {"reset", "forcibly closed"}, {"cut off", "EOF"}, {"cut off", "broken pipe"},
		{"TLS", "tls: "}, {"TLS", "x509: "}, {"unreachable", "unreachable"}, {"stopped", "context canceled"},
	} {
		if strings.Contains(text, known.part) {
			return known.word
		}
	}
	return "failed"
}

// seconds formats a duration as a number of seconds.
func seconds(d time.Duration) string {
	if d == time.Second {
		return "1 second"
	}
	return fmt.Sprintf("%g seconds", d.Seconds())
}

// troubleText describes how the server currently fails; empty if it works.
func troubleText(t postofficetest.Trouble) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if t.Status != 0 {
		which := "all requests"
		if t.Times > 0 {
			which = "the next " + webpage.Counted(t.Times, "request", "requests")
		}
		answer := strings.TrimSpace(fmt.Sprintf("%d %s", t.Status, http.StatusText(t.Status)))
		if t.RetryAfter > 0 {
			answer += fmt.Sprintf(" and Retry-After: %g", t.RetryAfter.Seconds())
		}
		add("responds to %s with %s", which, answer)
	}
	if t.Delay > 0 {
		add("responds %s late", seconds(t.Delay))
	}
	if t.Hang {
		add("does not respond")
	}
	if t.Reset {
		add("resets every connection and accepts nothing")
	}
	if t.Drop {
		add("accepts requests and cuts the connection instead of responding")
	}
	if t.Unwell {
		add("reports that it is unhealthy")
	}
	return strings.Join(parts, "; ")
}
