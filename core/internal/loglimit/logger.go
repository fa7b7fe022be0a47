package loglimit

import (
	"context"
	"log/slog"
)

// Logger logs the same event about the same subject once per Interval, because
// an outage must not flood the log. The next line of the event has the number of
// omitted lines as "omitted", or, for WarnMessages and ErrorMessages, the number
// of messages since the last line as "messages".
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

// WarnMessages is Warn for an event that happens once to each message, and has
// happened to n messages.
func (l *Logger) WarnMessages(event, about string, n int, message string, args ...any) {
	l.logMessages(slog.LevelWarn, event, about, n, message, args)
}

// ErrorMessages is like WarnMessages, for events that need a person's attention.
func (l *Logger) ErrorMessages(event, about string, n int, message string, args ...any) {
	l.logMessages(slog.LevelError, event, about, n, message, args)
}

// Always logs without a limit.
func (l *Logger) Always(level slog.Level, message string, args ...any) {
	l.logger.Log(context.Background(), level, l.prefix+message, args...)
}

func (l *Logger) log(level slog.Level, event, about, message string, args []any) {
	omitted, ok := l.events.Admit(logKey{event, about})
	if !ok {
		return
	}
	if omitted > 0 {
		args = append(args, "omitted", omitted)
	}
	l.Always(level, message, args...)
}

func (l *Logger) logMessages(level slog.Level, event, about string, n int, message string, args []any) {
	if total, _, ok := l.events.AdmitMany(logKey{event, about}, n); ok {
		l.Always(level, message, append(args, "messages", total)...)
	}
}
