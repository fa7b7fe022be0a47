package devserver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// momentOf returns a time whose text leaves out the date when that is today.
func momentOf(t, now time.Time) webpage.Moment {
	local, today := t.Local(), now.Local()
	layout := "15:04:05"
	if local.YearDay() != today.YearDay() || local.Year() != today.Year() {
		layout = "2006-01-02 15:04:05"
	}
	return webpage.MomentOf(local, local.Format(layout))
}

// jobBadge says what became of a job.
func jobBadge(status postofficetest.JobStatus, paused bool) webpage.Badge {
	switch status.State {
	case postofficetest.Pending:
		switch {
		case status.UnderWay:
			return webpage.Busy("under way")
		case paused:
			return webpage.Plain("paused")
		case status.Attempts > 0:
			return webpage.Bad("waits for retry")
		default:
			return webpage.Busy("waits")
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

// outcome says how an attempt ended.
func outcome(d postofficetest.Delivery) webpage.Badge {
	if d.Err != nil {
		reason := strings.TrimPrefix(d.Err.Error(), "postofficetest: ")
		return webpage.Bad(webpage.Shown(reason, maxReason))
	}
	text := strings.TrimSpace(fmt.Sprintf("%d %s", d.Status, http.StatusText(d.Status)))
	if d.Acknowledged() {
		return webpage.Good(text)
	}
	return webpage.Bad(text)
}

// seconds writes a duration as a number of seconds.
func seconds(d time.Duration) string {
	if d == time.Second {
		return "1 second"
	}
	return fmt.Sprintf("%g seconds", d.Seconds())
}

// troubleText says how the server fails at present; empty when it is well.
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
