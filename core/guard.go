package core

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

// Code of the app may panic: its slog.Handler, Observer, transport and outbox.
// In a goroutine of the client, a panic would end the process, or interrupt an
// operation and lose track of its messages.

// guard calls code of the app in goroutines of the client.
type guard struct{ log *loglimit.Logger }

// call calls code of the app. A panic is logged and returned as an error.
func (g guard) call(doing string, call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			g.panicked(doing, reason)
			err = errPanicked
		}
	}()
	return call()
}

// panicked logs a panic of the app's code that was recovered elsewhere.
func (g guard) panicked(doing string, reason any) {
	g.log.Error("panic", doing, "code of the app panicked in "+doing+"; the client continues",
		"panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

// guardObserver returns an Observer whose panics are reported and recovered,
// because they say nothing about the messages. It leaves functions that run
// within a call of the app unchanged.
func guardObserver(o Observer, report func(doing string, reason any)) Observer {
	o.Delivered = guardCall("Observer.Delivered", o.Delivered, report)
	o.Stored = guardCall("Observer.Stored", o.Stored, report)
	o.Spilled = guardCall("Observer.Spilled", o.Spilled, report)
	o.Failed = guardCall("Observer.Failed", o.Failed, report)
	o.Dead = guardCall("Observer.Dead", o.Dead, report)
	o.NoConsumer = guardCall("Observer.NoConsumer", o.NoConsumer, report)
	o.Discarded = guardCall("Observer.Discarded", o.Discarded, report)
	o.Listed = guardCall("Observer.Listed", o.Listed, report)
	o.Recovered = guardCall("Observer.Recovered", o.Recovered, report)
	o.Breaker = guardCall("Observer.Breaker", o.Breaker, report)
	o.OutboxBreaker = guardCall("Observer.OutboxBreaker", o.OutboxBreaker, report)
	o.Setup = guardCall("Observer.Setup", o.Setup, report)
	if send := o.Send; send != nil {
		o.Send = func(ctx context.Context, call SendCall) (sending context.Context, end func(error)) {
			guardCall("Observer.Send", func(call SendCall) { sending, end = send(ctx, call) }, report)(call)
			if sending == nil {
				sending = ctx
			}
			return sending, guardCall("Observer.Send", end, report)
		}
	}
	return o
}

// guardCall wraps a function so that its panics are reported. It returns nil
// for nil.
func guardCall[T any](doing string, call func(T), report func(doing string, reason any)) func(T) {
	if call == nil {
		return nil
	}
	return func(value T) {
		defer func() {
			if reason := recover(); reason != nil {
				report(doing, reason)
			}
		}()
		call(value)
	}
}

// guardLogger returns a logger whose handler's panics are recovered and written
// to standard error, rate-limited.
func guardLogger(logger *slog.Logger) *slog.Logger {
	return slog.New(&guardedHandler{logger.Handler(), &loglimit.Limiter[struct{}]{}})
}

type guardedHandler struct {
	handler  slog.Handler
	reported *loglimit.Limiter[struct{}]
}

// recovered handles a panic. It must be deferred.
func (h *guardedHandler) recovered() {
	reason := recover()
	if reason == nil {
		return
	}
	if _, ok := h.reported.Admit(struct{}{}); ok {
		_, _ = fmt.Fprintf(os.Stderr, "postoffice: Config.Logger panicked: %v\n", reason)
	}
}

// Enabled implements [slog.Handler].
func (h *guardedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	defer h.recovered()
	return h.handler.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *guardedHandler) Handle(ctx context.Context, record slog.Record) error {
	defer h.recovered()
	return h.handler.Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (h *guardedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &guardedHandler{h.handler.WithAttrs(attributes), h.reported}
}

// WithGroup implements [slog.Handler].
func (h *guardedHandler) WithGroup(name string) slog.Handler {
	return &guardedHandler{h.handler.WithGroup(name), h.reported}
}
