// Package exit says how a command ends: the exit codes, errors that carry them,
// and what an error of the client means for who called the command.
package exit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Exit codes. They are part of what users' scripts rely on.
const (
	// OK means that everything was done.
	OK = 0
	// Failed means that nothing was done, and that trying again as it is
	// does not help.
	Failed = 1
	// Usage means that the arguments, flags or settings cannot be used;
	// nothing was tried.
	Usage = 2
	// Partly means that a part was done and a part was not.
	Partly = 3
	// Unreachable means that the server cannot be reached, or fails: trying
	// again later may help.
	Unreachable = 4
	// InUse means that another process has the outbox file.
	InUse = 5
	// signalled is what the number of a signal is added to when it ended the
	// command: 130 for Ctrl-C, 143 for SIGTERM and 141 for a closed pipe.
	signalled = 128
	// Interrupted means that Ctrl-C ended the command.
	Interrupted = signalled + int(syscall.SIGINT)
	// Terminated means that SIGTERM ended the command.
	Terminated = signalled + int(syscall.SIGTERM)
	// ClosedPipe means that nobody reads the output any more.
	ClosedPipe = signalled + int(syscall.SIGPIPE)
)

// Error is an error with an exit code and, where there is one, a hint what to
// do next.
type Error struct {
	Code int
	Err  error
	Hint string
}

// Error returns the text of the error alone, without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error with a code and a hint; the hint may be empty.
func New(code int, hint string, err error) error {
	return &Error{Code: code, Err: err, Hint: hint}
}

// Usagef makes an error about arguments or flags.
func Usagef(format string, args ...any) error {
	return New(Usage, "", fmt.Errorf(format, args...))
}

// SignalError is the cause of a context that a signal has ended.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (s SignalError) Error() string { return s.Signal.String() }

// CodeOf returns the exit code of an error: that of an [Error], that of the
// signal that ended the context, and Failed for any other.
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

// OfSignal returns the exit code of the signal that ended a context, OK if
// none did.
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
