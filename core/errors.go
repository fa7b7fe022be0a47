package core

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// prefix begins the text of the errors that the functions of this package
// return, and of no error within them.
const prefix = "postoffice: "

// inner is an error with the prefix within another error, without it.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), prefix) }
func (e inner) Unwrap() error { return e.error }

// ofOutbox says that an error is the outbox's, if it does not say so itself.
func ofOutbox(err error) error {
	if strings.HasPrefix(err.Error(), "outbox") {
		return err
	}
	return fmt.Errorf("outbox: %w", err)
}

// Errors of this package. They are matched with [errors.Is].
var (
	// ErrClosed means that the client was stopped: it accepts nothing more.
	ErrClosed = errors.New("postoffice: client is stopped")
	// ErrNotStarted means that Start was not called, or has not succeeded yet.
	ErrNotStarted = errors.New("postoffice: client is not started")
	// ErrOutboxFull means that the outbox has reached its bound, and no room
	// was made while the call could wait: until its context ended or the client
	// was stopped. PublishTx does not wait, nor does anything that could never
	// fit, see [outbox.ErrNeverFits].
	ErrOutboxFull = outbox.ErrFull
	// ErrInvalidConfig means that a Config or settings cannot be used. The
	// error wraps one [*FieldError] for each field at fault.
	ErrInvalidConfig = errors.New("postoffice: invalid configuration")
	// ErrInvalidMessage means that a message can never be delivered and was
	// not accepted: its topic, payload, attributes or options are at fault.
	// The error wraps a [*FieldError].
	ErrInvalidMessage = errors.New("postoffice: invalid message")
	// ErrNotAccepted means that a message was neither delivered nor stored.
	// The error wraps what the server answered and, where there is an
	// outbox, why it could not store the message.
	ErrNotAccepted = errors.New("postoffice: message not accepted")
	// ErrBreakerOpen means that nothing was sent, because the server failed
	// repeatedly a moment ago. It is the cause of ErrNotAccepted without an
	// outbox, and of events of Stored and Spilled with one.
	ErrBreakerOpen = errors.New("circuit breaker is open: the server failed repeatedly")
	// ErrUndelivered means that accepted messages were neither delivered nor
	// stored when the client was stopped. It can happen with Memory only:
	// without an outbox, or while the outbox cannot be used.
	ErrUndelivered = errors.New("neither delivered nor stored")
	// ErrNoOutbox means that the client has no outbox to look after.
	ErrNoOutbox = errors.New("postoffice: the client has no outbox")
	// ErrNoTransactions means that the client's outbox cannot join the
	// caller's transactions, or that there is none.
	ErrNoTransactions = errors.New("postoffice: the outbox cannot join a transaction; one of core/outbox/sqlstore can")
	// ErrNoPublisher means that the context holds no publisher: the
	// middleware is missing in front of the handler.
	ErrNoPublisher = errors.New("postoffice: no publisher in the context; is the middleware registered?")
	// ErrUnhealthy means that the server answers, but says it is not well.
	ErrUnhealthy = errors.New("postoffice: server is unhealthy")
)

// FieldError names a field with bad input and what is wrong with it. It
// never holds the value of a payload or a credential.
type FieldError struct {
	// Field is the path of the field, such as "Consumers[2].Target",
	// "payload" or "payload[7]".
	Field string
	// Problem says what is wrong, such as "is required".
	Problem string
	// Err is the error beneath, if there is one.
	Err error
}

// Error returns the field and its problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Unwrap returns the error beneath.
func (e *FieldError) Unwrap() error { return e.Err }

// fieldError makes a FieldError; the problem is a format, in which %w sets
// the error beneath.
func fieldError(field, format string, args ...any) *FieldError {
	err := fmt.Errorf(format, args...)
	return &FieldError{Field: field, Problem: err.Error(), Err: errors.Unwrap(err)}
}
