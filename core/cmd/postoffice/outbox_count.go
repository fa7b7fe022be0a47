package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
)

// countResult is the JSON of outbox count.
type countResult struct {
	Pending int `json:"pending"`
	Dead    int `json:"dead"`
	// Held counts the pending messages that are being delivered now.
	Held  int   `json:"held"`
	Bytes int64 `json:"bytes"`
	// Oldest is when the oldest pending message was stored.
	Oldest *time.Time `json:"oldest,omitempty"`
}

func (a *app) outboxCountCommand(b box) *cobra.Command {
	flags := outboxFlags{of: b}
	command := &cobra.Command{
		Use:   "count",
		Short: "Count the messages",
		Long: `Counts the messages that wait and the dead ones.

JSON: {"pending", "dead", "held", "bytes", "oldest"}. held is the part of pending
that is being delivered now. oldest is when the oldest pending message was
stored, if there is one.`,
		Example: "  postoffice outbox count --outbox outbox.db --json",
		Args:    cobra.NoArgs,
		RunE: a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, _ []string) error {
			stats, err := call(ctx, store.Stats)
			if err != nil {
				return err
			}
			result := countResult{stats.Pending, stats.Dead, stats.Held, stats.Bytes, timeJSON(stats.Oldest)}
			return a.result(result, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "pending  %d\ndead     %d\nheld     %d\nbytes    %d\noldest   %s\n",
					stats.Pending, stats.Dead, stats.Held, stats.Bytes, timeText(stats.Oldest))
			})
		}),
	}
	flags.addRequired(command.Flags())
	return command
}
