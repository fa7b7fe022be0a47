package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/outboxdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

func (a *app) outboxDiscardCommand() *cobra.Command {
	var flags outboxFlags
	var change changeFlags
	var yes bool
	command := &cobra.Command{
		Use:   "discard {ID... | --topic TOPIC | --all}",
		Short: "Delete messages without delivering them",
		Long: `Deletes messages without delivering them: they are lost. On a terminal it asks
first; elsewhere it needs --yes.

JSON: {"discarded"}: how many there were.`,
		Example: `  postoffice outbox discard --topic tests --state dead --outbox outbox.db
  postoffice outbox discard --all --yes --outbox outbox.db`,
		RunE: func(command *cobra.Command, arguments []string) error {
			selection, err := change.selection(arguments)
			if err != nil {
				return err
			}
			asks := isTerminal(a.stdin) && isTerminal(a.stderr)
			if !yes && !asks {
				return exit.Usagef("discarding loses messages for good: without a terminal to ask at, it needs --yes")
			}
			return a.outboxRun(&flags, func(ctx context.Context, store *outboxdb.Outbox, _ []string) error {
				if !yes {
					if err := a.confirm(ctx, store, selection); err != nil {
						return err
					}
				}
				_, err := a.change(ctx, selection, "discarded", store.Discard)
				return err
			})(command, arguments)
		},
	}
	flags.addRequired(command.Flags())
	change.add(command)
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return command
}

// confirm asks whether to discard. Anything but yes is no.
func (a *app) confirm(ctx context.Context, store outbox.Store, selection outbox.Selection) error {
	stats, err := call(ctx, store.Stats)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.stderr, "The outbox holds %d pending and %d dead messages. Discard %s without delivering? [y/N] ",
		stats.Pending, stats.Dead, describe(selection))
	answers := make(chan string, 1)
	go func() {
		// No answer, and what cannot be read, is no.
		line, _ := bufio.NewReader(io.LimitReader(a.stdin, 1024)).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return nil
		}
		return exit.New(exit.Failed, "", errors.New("nothing was discarded"))
	case <-ctx.Done():
		a.say("")
		return exit.New(exit.OfSignal(ctx), "", errors.New("interrupted: nothing was discarded"))
	}
}
