package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// flushEvery is the number of messages after which a list is flushed, so that a list
// whose reader is gone ends.
const flushEvery = 500

// recordResult is the JSON of a message.
type recordResult struct {
	ID        string          `json:"id"`
	Topic     string          `json:"topic"`
	State     string          `json:"state"`
	Attempts  int             `json:"attempts"`
	CreatedAt *time.Time      `json:"created_at"`
	DueAt     *time.Time      `json:"due_at"`
	DeliverAt *time.Time      `json:"deliver_at,omitempty"`
	LastError string          `json:"last_error,omitempty"`
	Bytes     int64           `json:"bytes"`
	Attrs     json.RawMessage `json:"attributes,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
}

func newRecordResult(entry outbox.Entry) recordResult {
	return recordResult{
		ID: entry.ID, Topic: entry.Topic, State: entry.State.String(), Attempts: entry.Attempts,
		CreatedAt: timeJSON(entry.CreatedAt), DueAt: timeJSON(entry.DueAt), DeliverAt: timeJSON(entry.DeliverAt),
		LastError: entry.LastError, Bytes: entry.Size(),
	}
}

func (a *app) outboxListCommand(b box) *cobra.Command {
	flags := outboxFlags{of: b}
	var selection selectionFlags
	var limit int
	var after string
	command := &cobra.Command{
		Use:   "list",
		Short: "List messages, oldest first",
		Long: `Lists messages, oldest first, without payloads and attributes.

JSON Lines: {"id", "topic", "state", "attempts", "created_at", "due_at",
"deliver_at", "last_error", "bytes"}, one for each message. due_at is the time of
the next attempt, deliver_at the earliest time for consumers, if set.`,
		Example: `  postoffice outbox list --outbox outbox.db --state dead
  postoffice outbox list --outbox outbox.db --json | jq -r 'select(.attempts > 9) | .id'`,
		Args: cobra.NoArgs,
		RunE: a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, _ []string) error {
			state, err := selection.stateOf()
			if err != nil {
				return err
			}
			if limit < 0 {
				return exit.Usagef("--limit is negative")
			}
			return a.list(ctx, b, store, outbox.Query{Topic: selection.topic, State: state, After: after}, limit)
		}),
	}
	flags.addRequired(command.Flags())
	selection.add(command)
	command.Flags().IntVar(&limit, "limit", 0, "maximum number of messages to list (default all)")
	command.Flags().StringVar(&after, "after", "", "list the messages after this `id`")
	return command
}

// list writes messages without payloads and attributes. A limit of zero means all.
func (a *app) list(ctx context.Context, b box, store outbox.Lister, query outbox.Query, limit int) error {
	const row = "%-36s  %-7s  %8v  %-20s  %-20s  %8v  %s  %s\n"
	o := a.output()
	if !o.asJSON {
		_, _ = fmt.Fprintf(o.buffer, row, "ID", "STATE", "ATTEMPTS", "CREATED", "DUE", "BYTES", "TOPIC", "LAST ERROR")
	}
	query.Limit, query.MaxPayload = limit, -1
	listed := 0
	for entry, err := range outbox.All(ctx, timedLister{store}, query) {
		if err != nil {
			return err
		}
		err := o.write(newRecordResult(entry), func(w io.Writer) {
			_, _ = fmt.Fprintf(w, row, shown(entry.ID), entry.State, entry.Attempts,
				timeText(entry.CreatedAt), timeText(entry.DueAt), entry.Size(), shown(entry.Topic), shown(entry.LastError))
		})
		if listed++; err == nil && listed%flushEvery == 0 {
			err = o.flush()
		}
		if err != nil {
			return err
		}
	}
	if listed == 0 {
		a.say("postoffice: there are no such messages in the %s", b.name)
	}
	return o.flush()
}

// timedLister bounds how long each page may take.
type timedLister struct{ from outbox.Lister }

func (l timedLister) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	return call(ctx, func(ctx context.Context) ([]outbox.Entry, error) { return l.from.List(ctx, query) })
}
