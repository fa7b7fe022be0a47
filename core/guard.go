package core

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

// What an app brings along may panic: its slog.Handler, Observer, transport and
// outbox. In a goroutine of the client that would end the process, and in the
// middle of its work lose track of messages.

// guard calls code of the app in a goroutine of the client. A panic is logged
// and returned as an error.
func (c *Client) guard(doing string, call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			c.panicked(doing, reason)
			err = errPanicked
		}
	}()
	return call()
}

// panicked logs a panic of code of the app, where it was recovered.
func (c *Client) panicked(doing string, reason any) {
	c.log.error("panic", doing, "code of the app has panicked in "+doing+"; the client goes on",
		"panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

// post sends a delivery in a goroutine of the client. When the app's transport
// panics, what was not sent until then has failed.
func (c *Client) post(ctx context.Context, d *delivery) {
	_ = c.guard("sending messages", func() error {
		c.sendAll(ctx, d)
		return nil
	})
}

// guardObserver makes an Observer whose panics are reported and go no further,
// for they say nothing about the messages that it is told of. Those functions
// that belong to a call of the app's are left as they are.
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

// guardCall makes a function that reports the panics of another; nil of nil.
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

// guardLogger makes a logger whose panics go no further than to the standard
// error, once in a while.
func guardLogger(logger *slog.Logger) *slog.Logger {
	return slog.New(&guardedHandler{logger.Handler(), &loglimit.Limiter[struct{}]{}})
}

type guardedHandler struct {
	handler  slog.Handler
	reported *loglimit.Limiter[struct{}]
}

// recovered is to be deferred.
func (h *guardedHandler) recovered() {
	reason := recover()
	if reason == nil {
		return
	}
	if _, ok := h.reported.Admit(struct{}{}); ok {
		_, _ = fmt.Fprintf(os.Stderr, "postoffice: Config.Logger has panicked: %v\n", reason)
	}
}

// Enabled is part of [slog.Handler].
func (h *guardedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	defer h.recovered()
	return h.handler.Enabled(ctx, level)
}

// Handle is part of [slog.Handler].
func (h *guardedHandler) Handle(ctx context.Context, record slog.Record) error {
	defer h.recovered()
	return h.handler.Handle(ctx, record)
}

// WithAttrs is part of [slog.Handler].
func (h *guardedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &guardedHandler{h.handler.WithAttrs(attributes), h.reported}
}

// WithGroup is part of [slog.Handler].
func (h *guardedHandler) WithGroup(name string) slog.Handler {
	return &guardedHandler{h.handler.WithGroup(name), h.reported}
}
