package postofficetest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxText is the maximum length of a payload or body in the texts of this package.
const maxText = 1000

// String describes the message for the output of a failed test, with the payload and
// the attributes as text, shortened after 1000 bytes:
//
//	message 1 of topic "orders": {"id":7} {"kind":"new"} (single, jobs [1])
//
// Messages may be personal data: do not write them to the log of a production system.
func (m Message) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "message %d of topic %q: %s", m.Number, m.Topic, excerpt(m.Payload))
	if len(m.Attributes) > 0 {
		fmt.Fprintf(&text, " %s", excerpt(m.Attributes))
	}
	fmt.Fprintf(&text, " (%v", m.Via)
	if !m.DeliverAt.IsZero() {
		fmt.Fprintf(&text, ", deliver at %s", m.DeliverAt.Format(timeText))
	}
	if m.ThrownAway() {
		text.WriteString(", no consumer")
	} else {
		fmt.Fprintf(&text, ", jobs %v", m.JobIDs)
	}
	text.WriteString(")")
	return text.String()
}

// timeText is the format of times in texts.
const timeText = "2006-01-02T15:04:05.999Z07:00"

// String describes the attempt for the output of a failed test, with the body as
// text, shortened after 1000 bytes:
//
//	attempt 2 of job 1 for topic "orders" to http://billing/messages: 503, body {"id":7}
func (d Delivery) String() string {
	outcome := fmt.Sprint(d.Status)
	if d.Err != nil {
		outcome = d.Err.Error()
	}
	return fmt.Sprintf("attempt %d of job %d for topic %q to %s: %s, body %s", d.Attempt, d.JobID, d.Topic, d.Target, outcome, excerpt(d.Body))
}

// String describes the request for the output of a failed test, with the body as
// text, shortened after 1000 bytes, and without the header:
//
//	POST /api/messages: 201, body {"topic":"orders",…}
func (r Request) String() string {
	outcome := "not answered"
	if r.Status != 0 {
		outcome = fmt.Sprint(r.Status)
	}
	text := r.Method + " " + r.Path + ": " + outcome
	if len(r.Body) > 0 {
		text += ", body " + excerpt(r.Body)
	}
	return text
}

// excerpt returns the beginning of a text of at most maxText bytes, or "none".
func excerpt(text []byte) string {
	if len(text) == 0 {
		return "none"
	}
	if len(text) <= maxText {
		return string(text)
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:end], len(text))
}
