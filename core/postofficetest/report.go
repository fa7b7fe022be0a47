package postofficetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Limits for the text of a wait's error.
const (
	reportItems = 5
	reportRunes = 80
)

// arrivals describes what the server has received: numbers of messages by topic, and
// the last requests with their answers, without payloads.
func (s *Server) arrivals() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	topics := slices.SortedFunc(maps.Keys(s.counts), func(a, b string) int {
		return cmp.Or(s.counts[b]-s.counts[a], strings.Compare(a, b))
	})
	var counts []string
	for _, topic := range topics {
		counts = append(counts, fmt.Sprintf("%d of %s", s.counts[topic], quoted(topic)))
	}
	var requests []string
	for _, recorded := range slices.Backward(s.requests) {
		path, _, _ := strings.Cut(recorded.Path, "?")
		status := "unanswered"
		if recorded.Status != 0 {
			status = strconv.Itoa(recorded.Status)
		}
		requests = append(requests, fmt.Sprintf("%s %s: %s", recorded.Method, shortened(path), status))
		if len(requests) == reportItems {
			break
		}
	}
	return fmt.Sprintf("messages: %s; last of %d requests: %s", listed(counts), len(s.requests), listed(requests))
}

// attempts describes the last attempts to deliver.
func (s *Server) attempts() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last []string
	for _, made := range slices.Backward(s.history) {
		outcome := strconv.Itoa(made.Status)
		if made.Err != nil {
			outcome = shortened(strings.TrimPrefix(made.Err.Error(), "postofficetest: "))
		}
		last = append(last, fmt.Sprintf("message-id %d to %s: %s", made.JobID, shortened(made.Target), outcome))
		if len(last) == reportItems {
			break
		}
	}
	return "last attempts: " + listed(last)
}

// outstanding describes the jobs in progress and the waiting ones.
func (s *Server) outstanding() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	underWay := slices.SortedFunc(maps.Keys(s.flying), func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	var flying []string
	for _, j := range append(underWay, s.ready...) {
		flying = append(flying, fmt.Sprintf("message-id %d of topic %s", j.id, quoted(j.messages[0].Topic)))
	}
	text := "in progress: " + listed(flying)
	if len(s.planned) > 0 {
		text += fmt.Sprintf("; %d wait for the clock, the next one for %s", len(s.planned), s.planned[0].due.Sub(s.clock()))
	}
	var without int
	for _, message := range s.messages {
		if message.ThrownAway() {
			without++
		}
	}
	if without > 0 {
		text += fmt.Sprintf("; %d messages had no consumer", without)
	}
	return text
}

// listed joins the first few items and counts the rest.
func listed(items []string) string {
	if len(items) == 0 {
		return "none"
	}
	text := strings.Join(items[:min(len(items), reportItems)], ", ")
	if more := len(items) - reportItems; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// ofTopic returns text that names a topic, or nothing if it is empty.
func ofTopic(name string) string {
	if name == "" {
		return ""
	}
	return " of topic " + quoted(name)
}

// quoted is a name in an error.
func quoted(name string) string { return strconv.Quote(shortened(name)) }

// shortened truncates a text that is too long for an error.
func shortened(text string) string {
	if runes := []rune(text); len(runes) > reportRunes {
		return string(runes[:reportRunes]) + "…"
	}
	return text
}
