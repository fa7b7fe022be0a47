package deliver

import (
	"sync"
	"time"
)

// limitMemory is how long a learned limit is used before the configured one is
// tried again, because its cause may have changed or may have been a different
// one.
const limitMemory = 10 * time.Minute

// fewPayloads and fewBytes are the limits of a request below which calls do not
// share requests.
const (
	fewPayloads = 16
	fewBytes    = 8 << 10
)

// limits holds the learned limits of bulk requests, derived from refused
// requests.
type limits struct {
	payloads int // configured
	bytes    int // configured

	mu      sync.Mutex
	byTopic map[string]limit // of payloads, which depends on a topic's consumers
	all     limit            // of payloads, set by the server
	size    limit            // of bytes, set by the server or a proxy
}

type limit struct {
	maximum int
	until   time.Time
	// grows means that accepted requests of the full size raise the limit.
	grows bool
}

// or returns the learned limit, or the configured value if there is none.
func (l limit) or(configured int, now time.Time) int {
	if now.Before(l.until) {
		return min(l.maximum, configured)
	}
	return configured
}

func newLimits(payloads, bytes int) *limits {
	return &limits{payloads: payloads, bytes: bytes, byTopic: map[string]limit{}}
}

// of returns the maximum of payloads, and of payload bytes, in a bulk request
// for the topic.
func (l *limits) of(topic string) (payloads, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	payloads = l.byTopic[topic].or(l.all.or(l.payloads, now), now)
	return payloads, l.size.or(l.bytes, now)
}

// few reports whether the server accepts so few small messages of the topic in
// a request that sharing gains nothing. A limit that may grow again does not
// count.
func (l *limits) few(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.byTopic[topic].isFew(now) || l.all.isFew(now) || now.Before(l.size.until) && l.size.maximum < fewBytes
}

func (l limit) isFew(now time.Time) bool {
	return now.Before(l.until) && !l.grows && l.maximum < fewPayloads
}

// learnTopic records the maximum of payloads in requests of a topic.
func (l *limits) learnTopic(topic string, maximum int) {
	l.remember(topic, limit{maximum: maximum})
}

// slowDown sets a limit for requests of a topic after larger requests failed or
// timed out. The limit can grow again.
func (l *limits) slowDown(topic string, maximum int) {
	if known, _ := l.of(topic); maximum < known {
		l.remember(topic, limit{maximum: maximum, grows: true})
	}
}

// passed records that a request of a topic with the given number of payloads
// was accepted.
func (l *limits) passed(topic string, payloads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.byTopic[topic]; ok && known.grows && payloads >= known.maximum {
		known.maximum *= 2
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
	learned.maximum, learned.until = max(learned.maximum, 1), now.Add(limitMemory)
	l.byTopic[topic] = learned
}

// learnPayloads records the server's maximum of payloads.
func (l *limits) learnPayloads(maximum int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = limit{maximum: max(maximum, 1), until: time.Now().Add(limitMemory)}
}

// learnBytes records the maximum of bytes in a request.
func (l *limits) learnBytes(maximum int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = limit{maximum: max(maximum, 1), until: time.Now().Add(limitMemory)}
}
