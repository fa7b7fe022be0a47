package core

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxStrangers bounds how many unknown topics are remembered.
const maxStrangers = 1000

// strangers are topics that neither the server nor Config.Topics has, each with
// what there is to say about it.
type strangers struct {
	mu    sync.Mutex
	hints map[string]string
}

// explainUnknownTopic completes the failure of a topic that the server does not
// have. One that is not in Config.Topics either is probably misspelt, and its
// messages would wait in the outbox for ever: the log says so once.
func (c *Client) explainUnknownTopic(topic string, f *failure) {
	if slices.Contains(c.cfg.topics, topic) {
		return // it is created, or setup tells why not
	}
	hint, first := c.strangers.meet(topic, c.cfg.topics)
	f.cause = fmt.Errorf("%w; %s", f.cause, hint)
	if first {
		c.log.error("unknown topic", topic, "topic is unknown: its messages cannot be delivered; "+hint, "topic", topic)
	}
}

// meet returns what there is to say about an unknown topic, and whether it is
// met for the first time. When there are too many, those that are not
// remembered count as met before.
func (s *strangers) meet(topic string, known []string) (hint string, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hint, ok := s.hints[topic]; ok {
		return hint, false
	}
	hint = "neither the server nor Config.Topics has this topic"
	if len(s.hints) >= maxStrangers {
		return hint, false
	}
	if nearest, ok := nearestTopic(topic, known); ok {
		hint += fmt.Sprintf("; did you mean %q?", nearest)
	}
	if s.hints == nil {
		s.hints = map[string]string{}
	}
	s.hints[strings.Clone(topic)] = hint
	return hint, true
}

// nearestTopic returns the known topic that may be meant by another name: at
// most a third of it differs, case and punctuation aside.
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

// foldTopic makes spellings such as order.paid, orderPaid and ORDER_PAID alike.
func foldTopic(name string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-./: ", r) {
			return -1
		}
		return r
	}, name))
}
