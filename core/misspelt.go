package core

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// maxStrangers bounds the number of remembered unknown topics.
const maxStrangers = 1000

// strangers remembers topics that neither the server nor Config.Topics has,
// each with a hint.
type strangers struct {
	known []string // Config.Topics
	log   *loglimit.Logger

	mu    sync.Mutex
	hints map[string]string
}

// explain adds a hint to the failure of a topic that the server does not have.
// A topic that is not in Config.Topics either is probably misspelt, and its
// messages would wait in the outbox forever, so it is also logged once.
func (s *strangers) explain(topic string, f *office.Failure) {
	if slices.Contains(s.known, topic) {
		return // it is created, or setup logs the reason
	}
	hint, first := s.meet(topic)
	f.Cause = fmt.Errorf("%w; %s", f.Cause, hint)
	if first {
		s.log.Error("unknown topic", topic, "topic is unknown: its messages cannot be delivered; "+hint, "topic", topic)
	}
}

// meet returns the hint for an unknown topic, and whether this is its first
// failure. Topics beyond maxStrangers never count as first.
func (s *strangers) meet(topic string) (hint string, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hint, ok := s.hints[topic]; ok {
		return hint, false
	}
	hint = "neither the server nor Config.Topics has this topic"
	if len(s.hints) >= maxStrangers {
		return hint, false
	}
	if nearest, ok := nearestTopic(topic, s.known); ok {
		hint += fmt.Sprintf("; did you mean %q?", nearest)
	}
	if s.hints == nil {
		s.hints = map[string]string{}
	}
	s.hints[strings.Clone(topic)] = hint
	return hint, true
}

// nearestTopic returns the known topic that a misspelt name probably means: at
// most a third of it differs, ignoring case and punctuation.
func nearestTopic(name string, known []string) (nearest string, ok bool) {
	least := 0
	for _, topic := range known {
		distance := editDistance(foldTopic(name), foldTopic(topic))
		if distance <= utf8.RuneCountInString(topic)/3 && (!ok || distance < least) {
			nearest, least, ok = topic, distance, true
		}
	}
	return nearest, ok
}

// foldTopic maps spellings such as order.paid, orderPaid and ORDER_PAID to the
// same text.
func foldTopic(name string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-./: ", r) {
			return -1
		}
		return r
	}, name))
}
