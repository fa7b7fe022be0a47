package core

import (
	"log/slog"
	"sync"
	"time"
)

// logInterval is how often the same event about the same thing is logged.
const logInterval = 10 * time.Second

// maxLogKeys bounds what the logger remembers of events.
const maxLogKeys = 1000

// limitedLogger logs the same event about the same thing once in a while, so
// that an outage does not flood the log. What is left out is counted.
type limitedLogger struct {
	logger *slog.Logger

	mu     sync.Mutex
	events map[logKey]*logged
}

type logKey struct{ event, about string }

type logged struct {
	until   time.Time
	omitted int
}

func newLimitedLogger(logger *slog.Logger) *limitedLogger {
	return &limitedLogger{logger: logger, events: map[logKey]*logged{}}
}

// warn logs an event about a topic, or about whatever else the name says.
func (l *limitedLogger) warn(event, about, message string, args ...any) {
	if omitted, ok := l.admit(event, about); ok {
		l.logger.Warn("postoffice: "+message, append(args, omitted...)...)
	}
}

// error is warn for what needs a person.
func (l *limitedLogger) error(event, about, message string, args ...any) {
	if omitted, ok := l.admit(event, about); ok {
		l.logger.Error("postoffice: "+message, append(args, omitted...)...)
	}
}

// admit tells whether to log an event, and how many were left out before.
func (l *limitedLogger) admit(event, about string) ([]any, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	key := logKey{event, about}
	seen := l.events[key]
	if seen == nil {
		if len(l.events) >= maxLogKeys {
			clear(l.events)
		}
		seen = &logged{}
		l.events[key] = seen
	}
	if now.Before(seen.until) {
		seen.omitted++
		return nil, false
	}
	seen.until = now.Add(logInterval)
	if seen.omitted == 0 {
		return nil, true
	}
	omitted := []any{"omitted", seen.omitted}
	seen.omitted = 0
	return omitted, true
}
