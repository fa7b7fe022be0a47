package delivery

import (
	"context"
	"time"
)

// InboxObserver receives the events of an [Inbox]. Each function may be nil. The
// functions run on the paths of messages, concurrently in several goroutines: they
// must be fast and safe for concurrent use. A panic of one is logged and has no
// other effect.
type InboxObserver struct {
	// Stored is called when a message was stored and is about to be acknowledged.
	Stored func(InboxEvent)
	// Duplicate is called in place of Stored for a copy of a message that was
	// stored before. It is acknowledged and not handled.
	Duplicate func(InboxEvent)
	// Handle is called before a function. The function gets the returned context,
	// which must be ctx or derived from it. What Handle returns besides is called
	// with the function's error; it may be nil. It is for traces.
	Handle func(ctx context.Context, call HandleCall) (context.Context, func(error))
	// Handled is called after each call of a function, also if Err is set, and
	// before the outcome is stored.
	Handled func(InboxEvent)
	// Dead is called when a message has become dead. Err is the reason.
	Dead func(InboxEvent)
}

// InboxEvent describes a message of an inbox. It contains no payload.
type InboxEvent struct {
	// Topic is the topic of the handler, and Name the name under which the message
	// is stored, see [WithName].
	Topic, Name string
	// Attempts counts the calls of the function, this one included, in Handled.
	Attempts int
	// Age is the time since the message was stored, in Handled: by the clock of the
	// store at first, and then by that of this process.
	Age time.Duration
	// Duration is how long the function took, in Handled.
	Duration time.Duration
	// Err is the error of the function, in Handled and Dead; nil after a success. A
	// panic is a *[PanicError], in Handled.
	Err error
}

// HandleCall is a call of a function for a message.
type HandleCall struct {
	// Topic, Name and Attempts are those of an [InboxEvent].
	Topic, Name string
	Attempts    int
	// ID and Attributes are those of the [Message]. Attributes must not be modified.
	ID         string
	Attributes map[string]string
}

// guardObserver returns an observer whose panics are logged.
func (b *Inbox) guardObserver(o InboxObserver) InboxObserver {
	guarded := func(doing string, call func(InboxEvent)) func(InboxEvent) {
		if call == nil {
			return func(InboxEvent) {}
		}
		return func(event InboxEvent) {
			_ = b.guard("InboxObserver."+doing, func() error {
				call(event)
				return nil
			})
		}
	}
	handle := o.Handle
	return InboxObserver{
		Stored: guarded("Stored", o.Stored), Duplicate: guarded("Duplicate", o.Duplicate),
		Handled: guarded("Handled", o.Handled), Dead: guarded("Dead", o.Dead),
		Handle: func(ctx context.Context, call HandleCall) (context.Context, func(error)) {
			handling, end := ctx, func(error) {}
			if handle == nil {
				return handling, end
			}
			_ = b.guard("InboxObserver.Handle", func() error {
				got, ended := handle(ctx, call)
				if got != nil {
					handling = got
				}
				if ended != nil {
					end = func(err error) {
						_ = b.guard("InboxObserver.Handle", func() error {
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
