package deliver

import (
	"sync"
	"time"
)

// limitMemory is how long a learned limit is used before the configured one is
// tried again: its cause may have changed, or may have been another one.
const limitMemory = 10 * time.Minute

// fewPayloads and fewBytes are limits of a request below which calls do not share
// requests.
const (
	fewPayloads = 16
	fewBytes    = 8 << 10
)

// limits holds the learned limits of bulk requests, based on what the server
// refused.
type limits struct {
	payloads int // configured
	bytes    int // configured

	mu      sync.Mutex
	byTopic map[string]limit // of payloads, because it depends on a topic's consumers
	all     limit            // of payloads, by the server
	size    limit            // of bytes, by the server or a proxy
}

type limit struct {
	most  int
	until time.Time
	// grows means that accepted requests of the full size raise the limit.
	grows bool
}

// or returns the limit, or the configured value if there is none.
func (l limit) or(configured int, now time.Time) int {
	if now.Before(l.until) {
		return min(l.most, configured)
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

// few reports whether the server takes so few small messages in a request of the
// topic that sharing gains nothing. A limit that grows again does not count.
func (l *limits) few(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.byTopic[topic].isFew(now) || l.all.isFew(now) || now.Before(l.size.until) && l.size.most < fewBytes
}

func (l limit) isFew(now time.Time) bool {
	return now.Before(l.until) && !l.grows && l.most < fewPayloads
}

// learnTopic records the maximum of payloads in requests of a topic.
func (l *limits) learnTopic(topic string, most int) {
	l.remember(topic, limit{most: most})
}

// slowDown sets a limit for requests of a topic that grows again, because
// larger requests failed or timed out.
func (l *limits) slowDown(topic string, most int) {
	if known, _ := l.of(topic); most < known {
		l.remember(topic, limit{most: most, grows: true})
	}
}

// passed records that a request of a topic with the given number of payloads
// was accepted.
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

// learnPayloads records the server's maximum of payloads.
func (l *limits) learnPayloads(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = limit{most: max(most, 1), until: time.Now().Add(limitMemory)}
}

// learnBytes records the maximum of bytes in a request.
func (l *limits) learnBytes(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = limit{most: max(most, 1), until: time.Now().Add(limitMemory)}
}
