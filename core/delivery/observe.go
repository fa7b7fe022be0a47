package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

// Observer receives the events of received messages: of a [Handler] if set by
// [WithObserver], and of [Queued] if set as [InboxOptions].Observer. Each function
// may be nil. The functions run while messages are processed, concurrently in
// several goroutines: they must be fast and safe for concurrent use. A panic of one
// is logged and has no other effect. [JoinObservers] combines several.
//
// Each request of the server leads to one call of Stored, Duplicate, Skipped, Busy,
// Refused or Handled. An inbox also calls Handled for each call of a function.
type Observer struct {
	// Stored is called when a message was stored in an inbox and is about to be
	// acknowledged.
	Stored func(Event)
	// Duplicate is called for a copy of a message that was stored in the inbox or
	// handled before. It is acknowledged and not handled.
	Duplicate func(Event)
	// Skipped is called for a message that [WithLatest] skips because the same or a
	// newer version was handled. It is acknowledged.
	Skipped func(Event)
	// Busy is called for a message that is not handled now because a copy of it, or
	// with [WithLatest] a message of the same key, is being handled. The answer is
	// 409, and the server posts it again.
	Busy func(Event)
	// Refused is called for a request that is answered without a call of the
	// function for any other reason, given by Kind and Err. The server posts the
	// message again, unless the function of [WithUndecodable] has accepted it.
	Refused func(Event)
	// Handle is called before a function, with the context returned by
	// [WithContext]. The function gets the context that Handle returns, which must
	// be ctx or derived from it. The returned function is called with the error of
	// the function before its context ends; it may be nil. Use Handle for traces.
	Handle func(ctx context.Context, call HandleCall) (context.Context, func(error))
	// Handled is called after each call of a function, also if Err is set, and
	// before the outcome is stored or answered.
	Handled func(Event)
	// Dead is called when a message of an inbox has become dead. Err is the reason.
	Dead func(Event)
}

// Event describes what happened to a message. It contains no payload. Fields without
// a value in an event are zero.
type Event struct {
	// Topic is the topic of the handler; empty if none is set.
	Topic string
	// Name is the name under which an inbox stores the message, see [WithName];
	// empty for a [Handler].
	Name string
	// Kind is the kind of problem in Refused and Handled; zero after a success.
	Kind Kind
	// TimedOut, in Handled, means that the function failed after the deadline of its
	// context had passed.
	TimedOut bool
	// Attempts, in Handled, counts the calls of the function for the message,
	// including this one. It is zero for a Handler, because the server does not send
	// it.
	Attempts int
	// Age, in Handled, is the time from storing the message in an inbox to the call of
	// the function. It begins by the clock of the store and ends by that of this
	// process. It is zero for a Handler, because the server does not send it.
	Age time.Duration
	// Duration, in Handled, is how long the function took.
	Duration time.Duration
	// Err is the error of the function in Handled and Dead, nil after a success, and
	// the reason in Refused. A panic is a *[PanicError], except in Dead.
	Err error
}

// HandleCall is a call of a function for a message.
type HandleCall struct {
	// Topic, Name and Attempts are those of an [Event].
	Topic, Name string
	Attempts    int
	// ID and Attributes are those of the [Message]. Attributes must not be modified.
	ID         string
	Attributes map[string]string
}

// WithObserver sets the observer of a handler. Defaults to none. Not for [Queued]:
// set [InboxOptions].Observer instead.
func WithObserver(observer Observer) Option {
	return func(s *settings) error {
		if s.queued {
			return errors.New("WithObserver: set InboxOptions.Observer")
		}
		s.observer = observer
		return nil
	}
}

// JoinObservers combines several observers into one, such as one for metrics and one
// of the app. Each receives all events, in the given order. The context of Handle
// passes through all of them in this order, and the functions that they return are
// called in reverse.
func JoinObservers(observers ...Observer) Observer {
	var joined Observer
	for _, o := range observers {
		joined = Observer{
			Stored: joinEvents(joined.Stored, o.Stored), Duplicate: joinEvents(joined.Duplicate, o.Duplicate),
			Skipped: joinEvents(joined.Skipped, o.Skipped), Busy: joinEvents(joined.Busy, o.Busy),
			Refused: joinEvents(joined.Refused, o.Refused), Handled: joinEvents(joined.Handled, o.Handled),
			Dead: joinEvents(joined.Dead, o.Dead), Handle: joinHandles(joined.Handle, o.Handle),
		}
	}
	return joined
}

func joinEvents(a, b func(Event)) func(Event) {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(event Event) {
		a(event)
		b(event)
	}
}

type handleHook = func(context.Context, HandleCall) (context.Context, func(error))

func joinHandles(a, b handleHook) handleHook {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(ctx context.Context, call HandleCall) (context.Context, func(error)) {
		var ends [2]func(error)
		for i, handle := range []handleHook{a, b} {
			got, end := handle(ctx, call)
			if got != nil {
				ctx = got
			}
			ends[i] = end
		}
		return ctx, func(err error) {
			for _, end := range []func(error){ends[1], ends[0]} {
				if end != nil {
					end(err)
				}
			}
		}
	}
}

// ended returns the event for a function that has returned err.
func (e Event) ended(err error, timedOut bool) Event {
	if err != nil {
		e.Kind, e.TimedOut, e.Err = KindOf(err), timedOut, err
	}
	return e
}

// guarded returns an observer without nil functions, whose panics are handled by
// guard.
func (o Observer) guarded(guard func(doing string, call func() error) error) Observer {
	event := func(doing string, call func(Event)) func(Event) {
		if call == nil {
			return func(Event) {}
		}
		return func(event Event) {
			_ = guard("Observer."+doing, func() error {
				call(event)
				return nil
			})
		}
	}
	handle := o.Handle
	return Observer{
		Stored: event("Stored", o.Stored), Duplicate: event("Duplicate", o.Duplicate), Skipped: event("Skipped", o.Skipped),
		Busy: event("Busy", o.Busy), Refused: event("Refused", o.Refused), Handled: event("Handled", o.Handled), Dead: event("Dead", o.Dead),
		Handle: func(ctx context.Context, call HandleCall) (context.Context, func(error)) {
			handling, end := ctx, func(error) {}
			if handle == nil {
				return handling, end
			}
			_ = guard("Observer.Handle", func() error {
				got, ended := handle(ctx, call)
				if got != nil {
					handling = got
				}
				if ended != nil {
					end = func(err error) {
						_ = guard("Observer.Handle", func() error {
							ended(err)
							return nil
						})
					}
				}
				return nil
			})
			return handling, end
		},
	}
}

// guard calls code of the app. It logs a panic and returns it as an error.
func guard(log *loglimit.Logger, doing string, call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			log.Error("panic", doing, "code of the app has panicked in "+doing+", which has no other effect",
				"panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return call()
}

var errPanicked = errors.New("panic")
