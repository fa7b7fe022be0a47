// Package loglimit has the same event about the same thing logged once in a
// while, so that an outage does not flood the log.
package loglimit

import (
	"sync"
	"time"
)

// Interval is how often the same event about the same thing is logged.
const Interval = 10 * time.Second

// maxKeys bounds what a limiter remembers of events.
const maxKeys = 1000

// Limiter tells which events to log, by a key that says what and about what
// they are. The zero Limiter is ready. It is safe for concurrent use.
type Limiter[K comparable] struct {
	mu     sync.Mutex
	events map[K]*logged
}

type logged struct {
	until   time.Time
	omitted int
}

// Admit tells whether to log an event, and how many were left out before.
func (l *Limiter[K]) Admit(key K) (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	seen := l.events[key]
	if seen == nil {
		if l.events == nil || len(l.events) >= maxKeys {
			l.events = map[K]*logged{}
		}
		seen = &logged{}
		l.events[key] = seen
	}
	if now.Before(seen.until) {
		seen.omitted++
		return 0, false
	}
	omitted, seen.omitted, seen.until = seen.omitted, 0, now.Add(Interval)
	return omitted, true
}
