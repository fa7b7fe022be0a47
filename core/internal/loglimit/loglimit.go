// Package loglimit logs the same event about the same subject once per
// interval, because an outage must not flood the log.
package loglimit

import (
	"maps"
	"sync"
	"time"
)

// Interval is how often the same event about the same subject is logged.
const Interval = 10 * time.Second

// maxKeys bounds the number of remembered events.
const maxKeys = 1000

// Limiter decides which events are logged, by a key of event and subject. The
// zero Limiter is ready to use. It is safe for concurrent use.
type Limiter[K comparable] struct {
	mu     sync.Mutex
	events map[K]*logged
	// rest counts all events beyond maxKeys together.
	rest  logged
	swept time.Time
}

type logged struct {
	until   time.Time
	omitted int
	total   int
}

// add returns the entry for a new key. The mutex must be held.
func (l *Limiter[K]) add(key K, now time.Time) *logged {
	if len(l.events) >= maxKeys {
		if now.Sub(l.swept) < Interval {
			return &l.rest
		}
		l.swept = now
		maps.DeleteFunc(l.events, func(_ K, seen *logged) bool { return !now.Before(seen.until) })
		if len(l.events) >= maxKeys {
			return &l.rest
		}
	}
	if l.events == nil {
		l.events = map[K]*logged{}
	}
	seen := &logged{}
	l.events[key] = seen
	return seen
}

// Admit reports whether to log an event, and how many were omitted before it.
func (l *Limiter[K]) Admit(key K) (omitted int, ok bool) {
	_, omitted, ok = l.AdmitMany(key, 1)
	return omitted, ok
}

// AdmitMany is Admit for an event about n things. total is the number of things
// since the last admitted event: the ones of omitted events, and n.
func (l *Limiter[K]) AdmitMany(key K, n int) (total, omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	seen := l.events[key]
	if seen == nil {
		seen = l.add(key, now)
	}
	if now.Before(seen.until) {
		if seen != &l.rest { // whose events are about different things
			seen.total += n
		}
		seen.omitted++
		return 0, 0, false
	}
	total, omitted = seen.total+n, seen.omitted
	seen.total, seen.omitted, seen.until = 0, 0, now.Add(Interval)
	return total, omitted, true
}
