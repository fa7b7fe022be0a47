package core

import (
	"context"
	"log/slog"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

// limitedLogger logs the same event about the same thing once in a while, so
// that an outage does not flood the log. What is left out is counted.
type limitedLogger struct {
	logger *slog.Logger
	events loglimit.Limiter[logKey]
}

type logKey struct{ event, about string }

func newLimitedLogger(logger *slog.Logger) *limitedLogger { return &limitedLogger{logger: logger} }

// info logs an event about a topic, or about whatever else the name says.
func (l *limitedLogger) info(event, about, message string, args ...any) {
	l.log(slog.LevelInfo, event, about, message, args)
}

// warn is info for what may need a person.
func (l *limitedLogger) warn(event, about, message string, args ...any) {
	l.log(slog.LevelWarn, event, about, message, args)
}

// error is warn for what needs a person.
func (l *limitedLogger) error(event, about, message string, args ...any) {
	l.log(slog.LevelError, event, about, message, args)
}

func (l *limitedLogger) log(level slog.Level, event, about, message string, args []any) {
	if omitted, ok := l.admit(event, about); ok {
		l.logger.Log(context.Background(), level, "postoffice: "+message, append(args, omitted...)...)
	}
}

// admit tells whether to log an event, and says what was left out before.
func (l *limitedLogger) admit(event, about string) ([]any, bool) {
	omitted, ok := l.events.Admit(logKey{event, about})
	if omitted == 0 {
		return nil, ok
	}
	return []any{"omitted", omitted}, ok
}
