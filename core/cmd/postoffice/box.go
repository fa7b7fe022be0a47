package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// box is the role of a store: an outbox or an inbox. Both have the same commands,
// whose texts are written for an outbox.
type box struct {
	name, shorthand string
	// variable is the environment variable that names the store by default.
	variable string
	// table is the default name of the table in an app's database.
	table string
	words *strings.Replacer
}

var (
	outboxBox = box{name: "outbox", shorthand: "o", variable: outboxVariable, table: sqlstore.DefaultTable, words: strings.NewReplacer()}
	inboxBox  = box{name: "inbox", shorthand: "i", variable: inboxVariable, table: "postoffice_inbox", words: strings.NewReplacer(
		"an outbox", "an inbox", "the outbox", "the inbox", "no outbox", "no inbox", "embedded\noutbox (core/outbox/sqlite)", "embedded\nstore (core/outbox/sqlite)", "its outbox file", "its inbox file", "outbox page", "inbox page",
		"postoffice outbox", "postoffice inbox", "--outbox outbox.db", "--inbox inbox.db", "--outbox", "--inbox",
		outboxVariable, inboxVariable, "postoffice_outbox", "postoffice_inbox", "Client.Outbox", "a command of the app's own",
		"delivered", "handled", "delivering", "handling", "refused by the server", "given up by the app",
	)}
)

// rename adapts the texts of a command and its subcommands to a box.
func (b box) rename(command *cobra.Command) {
	command.Long, command.Short, command.Example = b.words.Replace(command.Long), b.words.Replace(command.Short), b.words.Replace(command.Example)
	command.Flags().VisitAll(func(flag *pflag.Flag) { flag.Usage = b.words.Replace(flag.Usage) })
	for _, child := range command.Commands() {
		b.rename(child)
	}
}

// renamed is an error with its text adapted to a box.
type renamed struct {
	error
	text string
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.error }

// renameError adapts an error and its hint to a box.
func (b box) renameError(err error) error {
	if err == nil || b.name == outboxBox.name {
		return err
	}
	inWords := &renamed{err, b.words.Replace(err.Error())}
	if known, ok := errors.AsType[*exit.Error](err); ok {
		return exit.New(known.Code, b.words.Replace(known.Hint), inWords)
	}
	return inWords
}
