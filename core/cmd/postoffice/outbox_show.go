package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

func (a *app) outboxShowCommand() *cobra.Command {
	var flags outboxFlags
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show a message with its payload",
		Long: `Shows one message, with its attributes and its payload, which may be private.

JSON: that of list, and "attributes" and "payload".`,
		Example: "  postoffice outbox show 0197f0f2-6f4e-7c3b-9d57-0d1c5f7a2b11 --outbox outbox.db",
		Args:    cobra.ExactArgs(1),
		RunE: a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, arguments []string) error {
			record, err := find(ctx, store, arguments[0])
			if err != nil {
				return err
			}
			result := newRecordResult(record)
			result.Attrs, result.Payload = record.Attributes, record.Payload
			return a.result(result, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "id          %s\ntopic       %s\nstate       %s\nattempts    %d\ncreated     %s\ndue         %s\ndeliver at  %s\nlast error  %s\nattributes  %s\npayload     %s\n",
					shown(record.ID), shown(record.Topic), record.State, record.Attempts, timeText(record.CreatedAt), timeText(record.DueAt),
					timeText(record.DeliverAt), shown(record.LastError), record.Attributes, record.Payload)
			})
		}),
	}
	flags.addRequired(command.Flags())
	return command
}

// find returns the message with an id.
func find(ctx context.Context, store outbox.Store, id string) (outbox.Record, error) {
	if id == "" {
		return outbox.Record{}, exit.Usagef("the ID is empty")
	}
	records, err := call(ctx, func(ctx context.Context) ([]outbox.Record, error) {
		return store.List(ctx, outbox.Query{IDs: []string{id}})
	})
	if err != nil {
		return outbox.Record{}, err
	}
	if len(records) == 0 {
		return outbox.Record{}, exit.New(exit.Failed, "it may have been delivered; see: postoffice outbox list", fmt.Errorf("the outbox has no message %s", shown(id)))
	}
	return records[0], nil
}
