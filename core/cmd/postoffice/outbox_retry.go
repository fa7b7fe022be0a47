package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
)

func (a *app) outboxRetryCommand() *cobra.Command {
	var flags outboxFlags
	var change changeFlags
	command := &cobra.Command{
		Use:   "retry {ID... | --topic TOPIC | --all}",
		Short: "Have messages delivered again, now, also dead ones",
		Long: `Makes messages pending and due now, also dead ones. The app that uses the
outbox delivers them: a running one at once, another when it starts. Or "outbox
deliver" does.

JSON: {"retried"}: how many there were.`,
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
					a.say(`postoffice: they are delivered when the app starts again, or by "postoffice outbox deliver"`)
				}
				return err
			})(command, arguments)
		},
	}
	flags.addRequired(command.Flags())
	change.add(command)
	return command
}
