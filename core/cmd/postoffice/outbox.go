package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Environment variables that name an outbox or an inbox by default.
const (
	outboxVariable = "POSTOFFICE_OUTBOX"
	inboxVariable  = "POSTOFFICE_INBOX"
)

// outboxTimeout bounds one call of an outbox.
const outboxTimeout = 30 * time.Second

// outboxFlags select an outbox or inbox.
type outboxFlags struct {
	of          box
	name, table string
}

func (f *outboxFlags) add(flags *pflag.FlagSet, usage string) {
	flags.StringVarP(&f.name, f.of.name, f.of.shorthand, "", usage)
	flags.StringVar(&f.table, "table", "", "`name` of the outbox's table in an app's database (default \""+outboxBox.table+"\")")
}

// path returns the name of the outbox; empty if there is none.
func (f *outboxFlags) path() string {
	if f.name != "" {
		return f.name
	}
	return strings.TrimSpace(os.Getenv(f.of.variable))
}

func (f *outboxFlags) given() bool { return f.path() != "" }

// open opens the outbox. If create is set, a missing file is created.
func (f *outboxFlags) open(ctx context.Context, a *app, create bool) (*connect.Outbox, error) {
	name := f.path()
	if name == "" {
		return nil, exit.Usagef("there is no outbox: set --outbox (or %s) to an SQLite file or a database such as postgres://HOST/DATABASE", outboxVariable)
	}
	a.secrets.AddURL(name)
	ctx, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	return connect.OpenOutbox(ctx, name, connect.OutboxOptions{Table: f.table, DefaultTable: f.of.table, Create: create})
}

const outboxHelp = `Manages an outbox: the messages that an app has accepted and that are not
delivered yet. Pending messages are delivered when they are due; dead messages
were refused by the server permanently, and are kept until you retry or discard
them.

` + boxHelp

// boxHelp explains --outbox.
const boxHelp = `--outbox is the path of an SQLite file or the URL of a database. An embedded
outbox (core/outbox/sqlite) is a file that one process uses at a time: while an
app uses it, these commands exit with 5. The SQLite file may also be an app's
database with an outbox table (core/outbox/sqlstore). The table has its default
name or that of --table. postgres://USER:PASSWORD@HOST/DATABASE and
mysql://USER:PASSWORD@HOST/DATABASE are tables in a database server. Databases
may be in use.`

func (a *app) outboxCommand() *cobra.Command {
	parent := group("outbox", "Manage the messages that wait in an outbox", append(a.boxCommands(outboxBox), a.outboxDeliverCommand())...)
	parent.Long = outboxHelp
	parent.Example = `  postoffice outbox count --outbox outbox.db
  POSTOFFICE_OUTBOX=postgres://app:secret@db/shop postoffice outbox list --state dead`
	return parent
}

// boxCommands returns the commands for an outbox or an inbox.
func (a *app) boxCommands(b box) []*cobra.Command {
	return []*cobra.Command{
		a.outboxCountCommand(b), a.outboxListCommand(b), a.outboxShowCommand(b), a.outboxRetryCommand(b), a.outboxDiscardCommand(b),
	}
}

const inboxHelp = `Manages an inbox: the messages that an app has acknowledged and stored, and
that are not handled yet (core/delivery). Pending messages are handled when they
are due; dead messages have failed the maximum number of times or were discarded
by the app, and are kept until you retry or discard them. Their topic is the name
of the app's handler, which defaults to the topic.

` + boxHelp

func (a *app) inboxCommand() *cobra.Command {
	parent := group("inbox", "Manage the messages that wait in an inbox", a.boxCommands(inboxBox)...)
	parent.Long = inboxHelp
	parent.Example = `  postoffice outbox count --outbox outbox.db
  POSTOFFICE_OUTBOX=postgres://app:secret@db/shop postoffice outbox list --state dead`
	inboxBox.rename(parent)
	return parent
}

// outboxRun returns the function of a command that works on an open outbox.
func (a *app) outboxRun(flags *outboxFlags, run func(ctx context.Context, store *connect.Outbox, arguments []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		store, err := flags.open(command.Context(), a, false)
		if err != nil {
			return flags.of.renameError(err)
		}
		err = flags.of.renameError(run(command.Context(), store, arguments))
		if failed := store.Close(); err == nil && failed != nil {
			err = exit.New(exit.Failed, "", failed)
		}
		return err
	}
}

// call makes one call of an outbox with a timeout.
func call[T any](ctx context.Context, run func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	result, err := run(limited)
	if err == nil || ctx.Err() != nil {
		return result, err
	}
	return result, exit.New(exit.Failed, "", err)
}

// addRequired adds the flags to a command of the group.
func (f *outboxFlags) addRequired(flags *pflag.FlagSet) {
	f.add(flags, "SQLite file or `database` URL of the outbox (or POSTOFFICE_OUTBOX)")
}

// selectionFlags select messages.
type selectionFlags struct{ topic, state string }

func (f *selectionFlags) add(command *cobra.Command) {
	command.Flags().StringVar(&f.topic, "topic", "", "only messages of a `topic`")
	command.Flags().StringVar(&f.state, "state", "", "only messages in this `state`: pending or dead")
	// This fails only for unknown flags.
	_ = command.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{outbox.Pending.String(), outbox.Dead.String()}, cobra.ShellCompDirectiveNoFileComp))
}

// stateOf returns the state of --state; nil for all.
func (f *selectionFlags) stateOf() (*outbox.State, error) {
	for _, state := range []outbox.State{outbox.Pending, outbox.Dead} {
		if f.state == state.String() {
			return &state, nil
		}
	}
	if f.state != "" {
		return nil, exit.Usagef("--state must be pending or dead")
	}
	return nil, nil
}
