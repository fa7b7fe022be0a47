package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// app is shared by all commands.
type app struct {
	stdin, stdout, stderr *os.File
	// asJSON and verbose are flags of every command.
	asJSON, verbose bool
	// secrets are passwords that must not appear on stderr.
	secrets connect.Secrets
}

func newApp(stdin, stdout, stderr *os.File) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr}
}

// run runs the command given by the arguments and returns its exit code.
func (a *app) run(arguments []string) int {
	// Writing to a closed pipe returns an error, like writing to a full disk: the
	// signal must not interrupt a bulk request.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	root := a.rootCommand()
	root.SetArgs(arguments)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exit.OK
	}
	return a.fail(ctx, command, err)
}

// untilSignal returns a context that ends at the first SIGINT or SIGTERM; a second
// one ends the process.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case caught := <-signals:
			signal.Stop(signals)
			cancel(exit.SignalError{Signal: caught})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// fail prints an error and returns the exit code.
func (a *app) fail(ctx context.Context, command *cobra.Command, err error) int {
	if written, ok := errors.AsType[*outputError](err); ok && errors.Is(written, syscall.EPIPE) {
		return exit.ClosedPipe
	}
	known, ok := errors.AsType[*exit.Error](err)
	switch {
	case ok:
	case exit.OfSignal(ctx) != exit.OK:
		known = &exit.Error{Code: exit.OfSignal(ctx), Err: errors.New("interrupted")}
	case errors.As(err, new(*outputError)):
		known = &exit.Error{Code: exit.Failed, Err: err}
	default: // errors of cobra are about arguments and flags
		known = &exit.Error{Code: exit.Usage, Err: err}
	}
	if known.Code == exit.Usage && known.Hint == "" {
		known.Hint = "see: " + command.CommandPath() + " --help"
	}
	// Errors of the client begin with the same name as this line.
	a.say("postoffice: %s", strings.ReplaceAll(known.Err.Error(), "postoffice: ", ""))
	if known.Hint != "" {
		a.say("  %s", known.Hint)
	}
	return known.Code
}

// say writes a line to stderr, without credentials.
func (a *app) say(format string, arguments ...any) {
	// If stderr is closed, there is nowhere to report that.
	_, _ = fmt.Fprintln(a.stderr, a.secrets.Text(fmt.Sprintf(format, arguments...)))
}

// logger returns the logger of the client: to stderr with --verbose, otherwise to
// nowhere, because commands print errors themselves.
func (a *app) logger() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(redactingWriter{a}, nil))
}

// redactingWriter writes to stderr without credentials.
type redactingWriter struct{ app *app }

func (w redactingWriter) Write(text []byte) (int, error) {
	if _, err := io.WriteString(w.app.stderr, w.app.secrets.Text(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// isTerminal reports whether a file is a terminal.
func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// errorText returns the text of an error for JSON, without credentials; empty for
// nil.
func (a *app) errorText(err error) string {
	if err == nil {
		return ""
	}
	return a.secrets.Text(err.Error())
}

// hintOf returns the hint of an error.
func hintOf(err error) string {
	if known, ok := errors.AsType[*exit.Error](err); ok {
		return known.Hint
	}
	return ""
}
