package devserver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// moment is a time as a page shows it.
type moment struct {
	// Machine is for the datetime attribute, Full for the title, Short for
	// the eye: the date is left out when it is today.
	Machine, Full, Short string
}

func momentOf(t, now time.Time) moment {
	t, now = t.Local(), now.Local()
	short := t.Format("15:04:05")
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		short = t.Format("2006-01-02 15:04:05")
	}
	return moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05.000 MST"), short}
}

// badge is a short text with a colour: "good", "bad", "busy", or none.
type badge struct{ Text, Tone string }

// jobBadge says what became of a job.
func jobBadge(status postofficetest.JobStatus, paused bool) badge {
	switch status.State {
	case postofficetest.Pending:
		switch {
		case status.UnderWay:
			return badge{"under way", "busy"}
		case paused:
			return badge{"paused", ""}
		case status.Attempts > 0:
			return badge{"waits for retry", "bad"}
		default:
			return badge{"waits", "busy"}
		}
	case postofficetest.Delivered:
		return badge{"delivered", "good"}
	case postofficetest.Kept:
		return badge{"kept, not sent", ""}
	case postofficetest.Discarded:
		return badge{"discarded", ""}
	default:
		return badge{status.State.String(), "bad"}
	}
}

// outcome says how an attempt ended.
func outcome(d postofficetest.Delivery) badge {
	if d.Err != nil {
		reason := strings.TrimPrefix(d.Err.Error(), "postofficetest: ")
		return badge{webpage.Shown(reason, maxReason), "bad"}
	}
	text := strings.TrimSpace(fmt.Sprintf("%d %s", d.Status, http.StatusText(d.Status)))
	if d.Acknowledged() {
		return badge{text, "good"}
	}
	return badge{text, "bad"}
}

// seconds writes a duration as a number of seconds.
func seconds(d time.Duration) string {
	if d == time.Second {
		return "1 second"
	}
	return fmt.Sprintf("%g seconds", d.Seconds())
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// troubleText says how the server fails at present; empty when it is well.
func troubleText(t postofficetest.Trouble) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if t.Status != 0 {
		which := "all requests"
		if t.Times > 0 {
			which = "the next " + counted(t.Times, "request", "requests")
		}
		answer := strings.TrimSpace(fmt.Sprintf("%d %s", t.Status, http.StatusText(t.Status)))
		if t.RetryAfter > 0 {
			answer += fmt.Sprintf(" and Retry-After: %g", t.RetryAfter.Seconds())
		}
		add("answers %s with %s", which, answer)
	}
	if t.Delay > 0 {
		add("answers %s late", seconds(t.Delay))
	}
	if t.Hang {
		add("does not answer")
	}
	if t.Reset {
		add("resets every connection, and takes nothing")
	}
	if t.Drop {
		add("takes what it gets and cuts the connection instead of answering")
	}
	if t.Unwell {
		add("says that it is not well")
	}
	return strings.Join(parts, "; ")
}
