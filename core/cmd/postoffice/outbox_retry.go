package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
)

func (a *app) outboxRetryCommand(b box) *cobra.Command {
	flags := outboxFlags{of: b}
	var change changeFlags
	deliverToo, byHand := "", ""
	if b.name == outboxBox.name {
		deliverToo, byHand = `
Or use "outbox deliver".`, `, or by "postoffice outbox deliver"`
	}
	command := &cobra.Command{
		Use:   "retry {ID... | --topic TOPIC | --all}",
		Short: "Make messages pending and due now, including dead ones",
		Long: `Makes messages pending and due now, including dead ones. They are delivered by
the app that uses the outbox: soon if it is running, otherwise when it starts.` + deliverToo + `

JSON: {"retried"}: the number of changed messages.`,
		Example: `  postoffice outbox retry --all --state dead --outbox outbox.db
  postoffice outbox retry 0197f0f2-6f4e-7c3b-9d57-0d1c5f7a2b11 --outbox outbox.db`,
		RunE: func(command *cobra.Command, arguments []string) error {
			selection, err := change.selection(arguments)
			if err != nil {
				return err
			}
			return a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, _ []string) error {
				n, err := a.change(ctx, selection, "retried", store.Retry)
				if n > 0 && store.Embedded {
					a.say("postoffice: they are %s when the app starts again%s", b.words.Replace("delivered"), byHand)
				}
				return err
			})(command, arguments)
		},
	}
	flags.addRequired(command.Flags())
	change.add(command)
	return command
}
