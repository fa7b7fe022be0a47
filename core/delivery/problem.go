package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

// Kind is a kind of [Problem].
type Kind int

const (
	// Refused requests have wrong credentials, method, content type or size: they
	// are not from the server or not for this handler.
	Refused Kind = iota + 1
	// NotDecoded messages are not valid JSON or do not fit the type.
	NotDecoded
	// Failed messages were passed to the function, which returned an error.
	Failed
	// Panicked messages were passed to the function, which panicked: the error is a
	// *[PanicError].
	Panicked
	// Discarded messages are messages for which the function returned [Discard].
	Discarded
	// NotDeduplicated messages met an error of the deduplicator: either before the
	// function, which was then not called, or after its success.
	NotDeduplicated
	// NotStored messages could not be stored in the inbox: its store is full or
	// unusable, or the inbox is not running.
	NotStored
)

// String returns a description of the kind.
func (k Kind) String() string {
	switch k {
	case Refused:
		return "delivery refused"
	case NotDecoded:
		return "message cannot be decoded"
	case Failed:
		return "message not handled"
	case Panicked:
		return "handling a message has panicked"
	case Discarded:
		return "message discarded"
	case NotDeduplicated:
		return "deduplication failed"
	case NotStored:
		return "message not stored"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// Problem is the report of a problem with a request or a message.
type Problem struct {
	Kind Kind
	// Topic and ID are those of the Message; they may be empty.
	Topic, ID string
	// Path is the path of the request; empty for a stored message of an inbox.
	Path string
	// Status is the status of the answer: 204 if the message is acknowledged; after
	// any other status the server delivers it again. Zero for a stored message of an
	// inbox, whose function is called again unless the message is dead.
	Status int
	// Attempts counts the calls of the function for a message of an inbox, including
	// this one; zero otherwise.
	Attempts int
	// Err is the error.
	Err error
}

// PanicError is a panic of the function that handled a message.
type PanicError struct {
	// Value is the value of the panic.
	Value any
	// Stack is the stack trace of the goroutine.
	Stack []byte
}

// Error returns the value as text.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// discard marks an error whose message is acknowledged.
type discard struct{ err error }

func (d *discard) Error() string { return "discarded: " + d.err.Error() }
func (d *discard) Unwrap() error { return d.err }

// Discard returns an error by which a function acknowledges a message that it cannot
// handle, now or later: the problem is reported, and the message is not posted
// again. The error may be wrapped. Discard of nil is nil.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return &discard{err}
}

// KindOf returns the kind of problem for an error of a function: [Panicked],
// [Discarded] or [Failed]; zero for nil. It is for [Observer].Handle.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	return kindOf(err)
}

// kindOf returns the kind of problem for an error of the function.
func kindOf(err error) Kind {
	if _, ok := errors.AsType[*PanicError](err); ok {
		return Panicked
	}
	if _, ok := errors.AsType[*discard](err); ok {
		return Discarded
	}
	return Failed
}

// reporter logs problems, each kind once in an interval, so that a message that is
// posted again and again does not flood the log.
type reporter struct {
	logger  *slog.Logger
	onError func(ctx context.Context, p Problem)

	kinds loglimit.Limiter[Kind]
}

func (r *reporter) report(ctx context.Context, p Problem) {
	if omitted, ok := r.kinds.Admit(p.Kind); ok {
		r.log(ctx, p, omitted)
	}
	if r.onError != nil {
		r.onError(ctx, p)
	}
}

func (r *reporter) log(ctx context.Context, p Problem, omitted int) {
	fields := []any{"path", p.Path, "status", p.Status, "error", p.Err}
	if p.Attempts > 0 {
		fields = []any{"attempts", p.Attempts, "error", p.Err}
	}
	if p.Topic != "" {
		fields = append(fields, "topic", p.Topic)
	}
	if p.ID != "" {
		fields = append(fields, "id", p.ID)
	}
	if panicked, ok := errors.AsType[*PanicError](p.Err); ok {
		fields = append(fields, "stack", string(panicked.Stack))
	}
	if omitted > 0 {
		fields = append(fields, "omitted", omitted)
	}
	level := slog.LevelError
	if p.Kind == Refused || p.Kind == Discarded {
		level = slog.LevelWarn
	}
	r.logger.Log(ctx, level, "postoffice: "+p.Kind.String(), fields...)
}
