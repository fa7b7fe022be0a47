// Package exit defines how a command ends: the exit codes, errors that carry them,
// and hints for errors of the client.
package exit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Exit codes. Users' scripts rely on them.
const (
	// OK means that everything was done.
	OK = 0
	// Failed means that nothing was done, and that repeating the same command does
	// not help.
	Failed = 1
	// Usage means that the arguments, flags or settings are invalid; nothing was
	// tried.
	Usage = 2
	// Partly means that the command was done in part.
	Partly = 3
	// Unreachable means that the server is unreachable or fails: trying again later
	// may help.
	Unreachable = 4
	// InUse means that another process uses the outbox file.
	InUse = 5
	// signalled plus the number of a signal is the exit code of a command that the
	// signal ended: 130 for Ctrl-C, 143 for SIGTERM and 141 for a closed pipe.
	signalled = 128
	// Interrupted means that Ctrl-C ended the command.
	Interrupted = signalled + int(syscall.SIGINT)
	// Terminated means that SIGTERM ended the command.
	Terminated = signalled + int(syscall.SIGTERM)
	// ClosedPipe means that the output pipe was closed.
	ClosedPipe = signalled + int(syscall.SIGPIPE)
)

// Error is an error with an exit code and, optionally, a hint about what to do next.
type Error struct {
	Code int
	Err  error
	Hint string
}

// Error returns the text of the error without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error with a code and a hint; the hint may be empty.
func New(code int, hint string, err error) error {
	return &Error{Code: code, Err: err, Hint: hint}
}

// Usagef returns an error about arguments or flags.
func Usagef(format string, args ...any) error {
	return New(Usage, "", fmt.Errorf(format, args...))
}

// SignalError is the cause of a context that a signal has ended.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (s SignalError) Error() string { return s.Signal.String() }

// CodeOf returns the exit code of an error: the code of an [Error], the code of the
// signal that ended the context, or Failed.
func CodeOf(ctx context.Context, err error) int {
	if err == nil {
		return OK
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Code
	}
	if code := OfSignal(ctx); code != OK {
		return code
	}
	return Failed
}

// OfSignal returns the exit code of the signal that ended a context, or OK.
func OfSignal(ctx context.Context) int {
	caught, ok := errors.AsType[SignalError](context.Cause(ctx))
	if !ok {
		return OK
	}
	if number, ok := caught.Signal.(syscall.Signal); ok {
		return signalled + int(number)
	}
	return Interrupted
}
