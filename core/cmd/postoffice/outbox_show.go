package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/internal/metadata"
	"github.com/postoffice-go/postoffice/core/outbox"
)

func (a *app) outboxShowCommand(b box) *cobra.Command {
	flags := outboxFlags{of: b}
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show a message with its payload",
		Long: `Shows one message with its attributes and its payload, which may be private.
Metadata in the payload, under its key "_postoffice", is shown separately.

JSON: the fields of list, and "attributes", "payload" without its metadata, and
"metadata" if there is any.`,
		Example: "  postoffice outbox show 0197f0f2-6f4e-7c3b-9d57-0d1c5f7a2b11 --outbox outbox.db",
		Args:    cobra.ExactArgs(1),
		RunE: a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, arguments []string) error {
			entry, err := find(ctx, store, arguments[0])
			if err != nil {
				return err
			}
			result := newRecordResult(entry)
			result.Attrs = entry.Attributes
			result.Payload, result.Metadata = metadata.Cut(entry.Payload)
			return a.result(result, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "id          %s\ntopic       %s\nstate       %s\nattempts    %d\ncreated     %s\ndue         %s\ndeliver at  %s\nlast error  %s\nattributes  %s\n",
					shown(entry.ID), shown(entry.Topic), entry.State, entry.Attempts, timeText(entry.CreatedAt), timeText(entry.DueAt),
					timeText(entry.DeliverAt), shown(entry.LastError), entry.Attributes)
				if result.Metadata != nil {
					_, _ = fmt.Fprintf(w, "metadata    %s\n", result.Metadata)
				}
				_, _ = fmt.Fprintf(w, "payload     %s\n", result.Payload)
			})
		}),
	}
	flags.addRequired(command.Flags())
	return command
}

// find returns the message with an id.
func find(ctx context.Context, store outbox.Store, id string) (outbox.Entry, error) {
	if id == "" {
		return outbox.Entry{}, exit.Usagef("the ID is empty")
	}
	entries, err := call(ctx, func(ctx context.Context) ([]outbox.Entry, error) {
		return store.List(ctx, outbox.Query{IDs: []string{id}})
	})
	if err != nil {
		return outbox.Entry{}, err
	}
	if len(entries) == 0 {
		return outbox.Entry{}, exit.New(exit.Failed, "it may have been delivered; see: postoffice outbox list", fmt.Errorf("the outbox has no message %s", shown(id)))
	}
	return entries[0], nil
}
