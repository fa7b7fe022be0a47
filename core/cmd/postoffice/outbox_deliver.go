package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

const (
	// deliverFor is the default of --for.
	deliverFor = time.Minute
	// deliverPoll is the interval at which outbox deliver checks whether messages
	// are left, and deliverStop the time that it waits for requests in progress at
	// its end.
	deliverPoll = 100 * time.Millisecond
	deliverStop = 10 * time.Second
)

// deliverResult is the JSON of outbox deliver.
type deliverResult struct {
	Delivered int `json:"delivered"`
	// Pending and Dead are left in the outbox.
	Pending     int    `json:"pending"`
	Dead        int    `json:"dead"`
	Interrupted bool   `json:"interrupted,omitempty"`
	Error       string `json:"error,omitempty"`
}

func (a *app) outboxDeliverCommand() *cobra.Command {
	flags := outboxFlags{of: outboxBox}
	var from connect.Flags
	var within time.Duration
	command := &cobra.Command{
		Use:   "deliver",
		Short: "Deliver the messages of an outbox without its app",
		Long: `Delivers the messages in the outbox, as a running app does: messages that publish
--outbox has stored, or that are left by an app that no longer runs. It ends
when no pending message is left, or after the time of --for. Exits with 3 if
messages are left, including dead ones, and with 4 if none was delivered.

The messages of an embedded outbox are tried at once. Messages in a database,
which other processes may share, are tried when they are due.

JSON: {"delivered", "pending", "dead", "interrupted", "error"}: pending and dead
messages are left.`,
		Example: "  postoffice outbox deliver --outbox outbox.db --url http://localhost:4000",
		Args:    cobra.NoArgs,
	}
	command.RunE = a.outboxRun(&flags, func(ctx context.Context, store *connect.Outbox, _ []string) error {
		config, err := from.Load(command.Flags(), &a.secrets)
		if err != nil {
			return err
		}
		config.Logger = a.logger()
		config.Outbox = store
		config.Topics, config.Consumers = nil, nil // not needed to deliver
		return a.deliver(ctx, store, config, within)
	})
	flags.addRequired(command.Flags())
	from.AddServer(command.Flags())
	from.AddBulk(command.Flags())
	command.Flags().DurationVar(&within, "for", deliverFor, "how long to try")
	return command
}

func (a *app) deliver(ctx context.Context, store *connect.Outbox, config core.Config, within time.Duration) (err error) {
	tally := &tally{}
	config.Observer = tally.observer()
	var last atomic.Pointer[error]
	config.Observer.Failed = func(event core.Event) { last.Store(&event.Err) }
	client, err := connect.NewClient(config)
	if err != nil {
		return err
	}
	if store.Embedded {
		pending := outbox.Pending
		if _, err := call(ctx, func(ctx context.Context) (int, error) {
			return store.Retry(ctx, outbox.Selection{All: true, State: &pending})
		}); err != nil {
			return err
		}
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	stats, failed := untilDelivered(ctx, store, within)
	stopping, cancel := context.WithTimeout(context.Background(), deliverStop)
	defer cancel()
	failed = errors.Join(failed, client.Stop(stopping))
	if failed == nil {
		// Requests in progress have ended now.
		stats, failed = store.Stats(stopping)
	}
	if failed == nil && stats.Pending > 0 && last.Load() != nil {
		failed = *last.Load()
	}
	result := deliverResult{
		Delivered: int(tally.delivered.Load()), Pending: stats.Pending, Dead: stats.Dead,
		Interrupted: exit.OfSignal(ctx) != exit.OK && stats.Pending > 0, Error: a.errorText(failed),
	}
	err = a.result(result, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s delivered, %d pending, %d dead\n", plural(result.Delivered, "message"), result.Pending, result.Dead)
	})
	if n := int(tally.withoutConsumer.Load()); n > 0 {
		a.say("postoffice: topics had no consumer: the server has discarded %s", plural(n, "message"))
	}
	if undelivered := result.verdict(ctx, failed, connect.PublicURL(config.URL)); undelivered != nil {
		return undelivered
	}
	return err
}

// untilDelivered waits until no message is pending, the time is over, or the context
// ends. It returns the counts of messages that are left.
func untilDelivered(ctx context.Context, store outbox.Store, within time.Duration) (outbox.Stats, error) {
	end := time.After(within)
	ticker := time.NewTicker(deliverPoll)
	defer ticker.Stop()
	for {
		stats, err := call(ctx, store.Stats)
		if ctx.Err() != nil {
			return stats, nil
		}
		if err != nil || stats.Pending == 0 {
			return stats, err
		}
		select {
		case <-ticker.C:
		case <-end:
			return stats, nil
		case <-ctx.Done():
			return stats, nil
		}
	}
}

// verdict returns the error, with its exit code.
func (r *deliverResult) verdict(ctx context.Context, failed error, address string) error {
	left := fmt.Errorf("%d pending and %d dead messages are left in the outbox", r.Pending, r.Dead)
	switch {
	case r.Interrupted:
		return exit.New(exit.OfSignal(ctx), "", fmt.Errorf("interrupted: %w", left))
	case failed == nil && r.Pending == 0 && r.Dead == 0:
		return nil
	case failed == nil && r.Pending == 0:
		return exit.New(exit.Partly, "see: postoffice outbox list --state dead", left)
	case failed == nil:
		return exit.New(exit.Partly, "they are not due yet, or another process delivers them; see: postoffice outbox list", left)
	}
	known := exit.Diagnose(failed, address)
	code := exit.CodeOf(ctx, known)
	if r.Delivered > 0 {
		code = exit.Partly
	}
	return exit.New(code, hintOf(known), fmt.Errorf("%w: %w", left, failed))
}
