package loglimit

import (
	"context"
	"log/slog"
)

// Logger logs the same event about the same subject once per Interval, because
// an outage must not flood the log. It counts the omitted lines.
type Logger struct {
	logger *slog.Logger
	prefix string
	events Limiter[logKey]
}

type logKey struct{ event, about string }

// NewLogger returns a logger whose messages begin with a prefix.
func NewLogger(logger *slog.Logger, prefix string) *Logger {
	return &Logger{logger: logger, prefix: prefix}
}

// Info logs an event about a topic or another subject.
func (l *Logger) Info(event, about, message string, args ...any) {
	l.log(slog.LevelInfo, event, about, message, args)
}

// Warn is like Info, for events that may need a person's attention.
func (l *Logger) Warn(event, about, message string, args ...any) {
	l.log(slog.LevelWarn, event, about, message, args)
}

// Error is like Info, for events that need a person's attention.
func (l *Logger) Error(event, about, message string, args ...any) {
	l.log(slog.LevelError, event, about, message, args)
}

// Always logs without a limit.
func (l *Logger) Always(level slog.Level, message string, args ...any) {
	l.logger.Log(context.Background(), level, l.prefix+message, args...)
}

func (l *Logger) log(level slog.Level, event, about, message string, args []any) {
	if omitted, ok := l.admit(event, about); ok {
		l.Always(level, message, append(args, omitted...)...)
	}
}

// admit reports whether to log an event, and returns the number of omitted
// lines as log arguments.
func (l *Logger) admit(event, about string) ([]any, bool) {
	omitted, ok := l.events.Admit(logKey{event, about})
	if omitted == 0 {
		return nil, ok
	}
	return []any{"omitted", omitted}, ok
}
