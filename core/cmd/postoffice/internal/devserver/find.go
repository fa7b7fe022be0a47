package devserver

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// maxSearch is the maximum length of a search text in bytes; the rest is ignored.
const maxSearch = 500

// search selects messages or attempts. Empty fields select all.
type search struct {
	// Text is searched for without regard to case.
	Text  string
	Topic string
	// State is the key of a choice.
	State string
	// Message is the number of the message whose attempts are listed.
	Message int64
}

// choice is a state that can be selected.
type choice struct{ Key, Text string }

var (
	messageStates = []choice{
		{"waiting", "waiting"}, {"retrying", "waiting for retry"}, {"delivered", "delivered to all"},
		{"failed", "failed or cancelled"}, {"kept", "kept, not sent"}, {"discarded", "discarded"},
	}
	attemptStates = []choice{{"failed", "failed"}, {"delivered", "delivered"}}
)

// searchOf parses a search; an unknown state selects all.
func searchOf(r *http.Request, states []choice) search {
	query := r.URL.Query()
	s := search{Text: query.Get("q"), Topic: query.Get("topic"), State: query.Get("state")}
	if len(s.Text) > maxSearch {
		s.Text = strings.ToValidUTF8(s.Text[:maxSearch], "") // without half a character at its end
	}
	s.Text = strings.TrimSpace(s.Text)
	if !slices.ContainsFunc(states, func(c choice) bool { return c.Key == s.State }) {
		s.State = ""
	}
	if number, err := strconv.ParseInt(query.Get("message"), 10, 64); err == nil && number > 0 {
		s.Message = number
	}
	return s
}

// link returns the address of a list with this search, limited to items below a number
// unless it is zero.
func (s search) link(address string, before int64) string {
	values := url.Values{}
	for name, value := range map[string]string{"q": s.Text, "topic": s.Topic, "state": s.State} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for name, number := range map[string]int64{"message": s.Message, "before": before} {
		if number != 0 {
			values.Set(name, strconv.FormatInt(number, 10))
		}
	}
	if len(values) == 0 {
		return address
	}
	return address + "?" + values.Encode()
}

// holds reports whether one of the texts contains the search text.
func (s search) holds(texts ...[]byte) bool {
	if s.Text == "" {
		return true
	}
	text := bytes.ToLower([]byte(s.Text))
	contains := containsASCII
	if slices.ContainsFunc(text, func(c byte) bool { return c >= utf8.RuneSelf }) {
		contains = func(in, lower []byte) bool { return bytes.Contains(bytes.ToLower(in), lower) }
	}
	return slices.ContainsFunc(texts, func(in []byte) bool { return contains(in, text) })
}

// containsASCII reports whether a text contains an ASCII text in lower case, in any
// case. It copies nothing: payloads are large and many.
func containsASCII(in, lower []byte) bool {
	for first := lower[0]; len(in) >= len(lower); in = in[1:] {
		if lowerASCII(in[0]) != first {
			continue
		}
		same := 1
		for same < len(lower) && lowerASCII(in[same]) == lower[same] {
			same++
		}
		if same == len(lower) {
			return true
		}
	}
	return false
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// message reports whether the search selects a message.
func (s search) message(message postofficetest.Message, jobs []postofficetest.Job) bool {
	some := func(states ...postofficetest.JobState) bool {
		return slices.ContainsFunc(jobs, func(job postofficetest.Job) bool { return slices.Contains(states, job.State) })
	}
	if s.Topic != "" && message.Topic != s.Topic {
		return false
	}
	state := true
	switch s.State {
	case "waiting":
		state = some(postofficetest.Pending)
	case "retrying":
		state = slices.ContainsFunc(jobs, func(job postofficetest.Job) bool { return job.State == postofficetest.Pending && job.Attempts > 0 })
	case "delivered":
		state = len(jobs) > 0 && !slices.ContainsFunc(jobs, func(job postofficetest.Job) bool { return job.State != postofficetest.Delivered })
	case "failed":
		state = some(postofficetest.GivenUp, postofficetest.Undeliverable, postofficetest.Discarded, postofficetest.Cancelled)
	case "kept":
		state = some(postofficetest.Kept)
	case "discarded":
		state = message.ThrownAway()
	}
	return state && s.holds([]byte(message.Topic), message.Payload, message.Attributes)
}

// attempt reports whether the search selects an attempt.
func (s search) attempt(made postofficetest.Attempt) bool {
	switch {
	case s.Message != 0 && made.Message != s.Message:
		return false
	case s.Topic != "" && made.Topic != s.Topic:
		return false
	case s.State == "failed" && made.Acknowledged(), s.State == "delivered" && !made.Acknowledged():
		return false
	}
	badge, detail := outcome(made.Delivery)
	return s.holds([]byte(made.Topic), []byte(made.Target), []byte(badge.Text+" "+detail))
}

// finder is the search form of a list.
type finder struct {
	search
	// Action is the address of the list, States are the states to choose from, and
	// Hint names the fields that the text is searched in.
	Action string
	States []choice
	Hint   string
}

// Selects reports whether the search is not empty.
func (f finder) Selects() bool { return f.search != search{} }
