package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

func (a *app) outboxDiscardCommand(b box) *cobra.Command {
	flags := outboxFlags{of: b}
	var change changeFlags
	var yes bool
	command := &cobra.Command{
		Use:   "discard {ID... | --topic TOPIC | --all}",
		Short: "Delete messages without delivering them",
		Long: `Deletes messages without delivering them: they are lost. On a terminal it asks
for confirmation; otherwise it needs --yes.

JSON: {"discarded"}: the number of deleted messages.`,
		Example: `  postoffice outbox discard --topic tests --state dead --outbox outbox.db
  postoffice outbox discard --all --yes --outbox outbox.db`,
		RunE: func(command *cobra.Command, arguments []string) error {
			selection, err := change.selection(arguments)
			if err != nil {
				return err
			}
			asks := isTerminal(a.stdin) && isTerminal(a.stderr)
			if !yes && !asks {
				return exit.Usagef("discarded messages are lost: without a terminal for confirmation, --yes is required")
			}
			return a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, _ []string) error {
				discard := store.Discard
				if !yes {
					n, err := howMany(ctx, store, selection)
					switch {
					case err != nil:
						return err
					case n == 0:
						// The question was not about messages that arrive now.
						discard = func(context.Context, outbox.Selection) (int, error) { return 0, nil }
					default:
						if err := a.confirm(ctx, b, describe(selection, n)); err != nil {
							return err
						}
					}
				}
				_, err := a.change(ctx, selection, "discarded", discard)
				return err
			})(command, arguments)
		},
	}
	flags.addRequired(command.Flags())
	change.add(command)
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for confirmation")
	return command
}

// countTimeout bounds the count of messages before the question. After that the
// question does not contain the number.
const countTimeout = 5 * time.Second

// howMany counts the selected messages; negative if that takes too long.
func howMany(ctx context.Context, store outbox.Store, selection outbox.Selection) (int, error) {
	limited, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := store.Count(limited, selection)
	switch {
	case err == nil:
		return n, nil
	case ctx.Err() != nil:
		return 0, err
	case limited.Err() != nil:
		return -1, nil
	default:
		return 0, exit.New(exit.Failed, "", err)
	}
}

// confirm asks whether to discard the messages. Any answer but yes means no.
func (a *app) confirm(ctx context.Context, b box, what string) error {
	_, _ = fmt.Fprintf(a.stderr, "Discard %s without %s? [y/N] ", what, b.words.Replace("delivering"))
	answers := make(chan string, 1)
	go func() {
		// No answer and unreadable input mean no.
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
