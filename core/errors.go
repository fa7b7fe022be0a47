package core

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// prefix begins the text of every error that this package returns. The errors
// wrapped in them do not have it.
const prefix = "postoffice: "

// inner removes the prefix from an error that is wrapped in another one.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), prefix) }
func (e inner) Unwrap() error { return e.error }

// ofOutbox marks an error as an error of the outbox, unless its text already
// says so.
func ofOutbox(err error) error {
	if strings.HasPrefix(err.Error(), "outbox") {
		return err
	}
	return fmt.Errorf("outbox: %w", err)
}

// Errors of this package. Match them with [errors.Is].
var (
	// ErrClosed means that the client was stopped and accepts no messages.
	ErrClosed = errors.New("postoffice: client is stopped")
	// ErrNotStarted means that Start was not called or has not succeeded yet.
	// Only Ready and its handler report it; publishing works before Start.
	ErrNotStarted = errors.New("postoffice: client is not started")
	// ErrOutboxFull means that the outbox has reached its bound and got no
	// capacity until the context of the call ended or the client was stopped.
	// PublishTx does not wait, and neither does a message that can never fit,
	// see [outbox.ErrNeverFits].
	ErrOutboxFull = outbox.ErrFull
	// ErrInvalidConfig means that a Config, or the settings for one, cannot be
	// used. The error wraps one [*FieldError] for each invalid field.
	ErrInvalidConfig = errors.New("postoffice: invalid configuration")
	// ErrInvalidMessage means that a message can never be delivered and was not
	// accepted, because its topic, payload, attributes or options are invalid.
	// The error wraps a [*FieldError].
	ErrInvalidMessage = errors.New("postoffice: invalid message")
	// ErrNotAccepted means that a message was neither delivered nor stored. The
	// error wraps the server's response and, if there is an outbox, the reason
	// why it could not store the message.
	ErrNotAccepted = errors.New("postoffice: message not accepted")
	// ErrBreakerOpen means that nothing was sent, because the server failed
	// repeatedly and the circuit breaker is open. It is the cause of
	// ErrNotAccepted without an outbox, and of Stored and Spilled events with
	// an outbox.
	ErrBreakerOpen = office.ErrBreakerOpen
	// ErrUndelivered means that accepted messages were neither delivered nor
	// stored when the client was stopped. It occurs only with Memory, if there
	// is no outbox or the outbox fails.
	ErrUndelivered = errors.New("neither delivered nor stored")
	// ErrNoOutbox means that the client has no outbox.
	ErrNoOutbox = errors.New("postoffice: the client has no outbox")
	// ErrNoTransactions means that the client has no outbox, or that its outbox
	// cannot join the caller's transactions.
	ErrNoTransactions = errors.New("postoffice: the outbox cannot join a transaction; one of core/outbox/sqlstore can")
	// ErrNoPublisher means that the context has no publisher, because the
	// middleware is not installed in front of the handler. In Gin, middleware
	// applies only to routes that are added after it.
	ErrNoPublisher = errors.New("postoffice: no publisher in the context; is the middleware registered (in Gin, before the route)?")
	// ErrUnhealthy means that the server responds but reports that it is
	// unhealthy.
	ErrUnhealthy = errors.New("postoffice: server is unhealthy")
)

// FieldError names an invalid field and the problem with it. It never contains
// a payload's value or a credential.
type FieldError struct {
	// Field is the path of the field, such as "Consumers[2].Target",
	// "payload" or "payload[7]".
	Field string
	// Problem describes the problem, such as "is required".
	Problem string
	// Err is the underlying error, if there is one.
	Err error
}

// Error returns the field and its problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Unwrap returns the underlying error.
func (e *FieldError) Unwrap() error { return e.Err }

// fieldError returns a FieldError. The problem is a format in which %w sets the
// underlying error.
func fieldError(field, format string, args ...any) *FieldError {
	err := fmt.Errorf(format, args...)
	return &FieldError{Field: field, Problem: err.Error(), Err: errors.Unwrap(err)}
}
