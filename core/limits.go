package core

import (
	"sync"
	"time"
)

// limitMemory is how long a learned limit is kept before the configured one
// is tried again: what taught it may have changed, or been misread.
const limitMemory = 10 * time.Minute

// limits holds how much one bulk request may carry, by what the server was
// seen to refuse.
type limits struct {
	payloads int // configured
	bytes    int // configured

	mu      sync.Mutex
	byTopic map[string]limit // of payloads: a topic's consumers count in it
	all     limit            // of payloads, of the server
	size    limit            // of bytes, of the server or a proxy
}

type limit struct {
	most  int
	until time.Time
	// grows tells that requests of that size which pass raise the limit.
	grows bool
}

// or returns the limit, or the configured value if none is remembered.
func (l limit) or(configured int, now time.Time) int {
	if now.Before(l.until) {
		return min(l.most, configured)
	}
	return configured
}

func newLimits(payloads, bytes int) *limits {
	return &limits{payloads: payloads, bytes: bytes, byTopic: map[string]limit{}}
}

// of returns how many payloads, and bytes of payloads, a bulk request for
// the topic may carry.
func (l *limits) of(topic string) (payloads, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	payloads = l.byTopic[topic].or(l.all.or(l.payloads, now), now)
	return payloads, l.size.or(l.bytes, now)
}

// learnTopic remembers that requests of a topic carry at most so many.
func (l *limits) learnTopic(topic string, most int) {
	l.remember(topic, limit{most: most})
}

// slowDown has requests of a topic carry at most so many for a start, because
// larger ones failed or were not answered in time.
func (l *limits) slowDown(topic string, most int) {
	if known, _ := l.of(topic); most < known {
		l.remember(topic, limit{most: most, grows: true})
	}
}

// passed notes that a request of a topic with so many payloads was accepted.
func (l *limits) passed(topic string, payloads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.byTopic[topic]; ok && known.grows && payloads >= known.most {
		known.most *= 2
		l.byTopic[topic] = known
	}
}

func (l *limits) remember(topic string, learned limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for name, limit := range l.byTopic {
		if now.After(limit.until) {
			delete(l.byTopic, name)
		}
	}
	learned.most, learned.until = max(learned.most, 1), now.Add(limitMemory)
	l.byTopic[topic] = learned
}

// learnPayloads remembers how many payloads the server takes.
func (l *limits) learnPayloads(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = limit{most: max(most, 1), until: time.Now().Add(limitMemory)}
}

// learnBytes remembers how many bytes a request may have.
func (l *limits) learnBytes(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = limit{most: max(most, 1), until: time.Now().Add(limitMemory)}
}
