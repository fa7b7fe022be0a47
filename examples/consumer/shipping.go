package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// shippingPath is the path to which the server posts messages for shipping.
const shippingPath = "/consume/shipping"

// shipping packs the orders that it consumes, which takes long. So it stores each
// message in an inbox and answers at once; workers of the inbox pack.
type shipping struct {
	store *sqlite.Store
	inbox *delivery.Inbox
	// packed receives the message id of each packed order, and copies a value for
	// each message that was left out as a copy.
	packed chan string
	copies chan struct{}
}

func startShipping(ctx context.Context, directory string, logger *slog.Logger) (*shipping, error) {
	store, err := sqlite.Open(ctx, filepath.Join(directory, "inbox.db"))
	if err != nil {
		return nil, err
	}
	s := &shipping{store: store, packed: make(chan string, 100), copies: make(chan struct{}, 100)}
	s.inbox, err = delivery.NewInbox(store, delivery.InboxOptions{
		Logger:   logger,
		Observer: delivery.Observer{Duplicate: func(delivery.Event) { s.copies <- struct{}{} }},
	})
	if err == nil {
		err = s.inbox.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return s, nil
}

// handler returns the handler that stores the messages of a consumer.
func (s *shipping) handler(consumer core.Consumer, logger *slog.Logger) (http.Handler, error) {
	return delivery.NewQueued(s.inbox, s.pack, delivery.WithConsumer(consumer), delivery.WithName("shipping"), delivery.WithLogger(logger))
}

// pack packs an order. If it failed, the inbox would call it again after growing
// pauses.
func (s *shipping) pack(ctx context.Context, m delivery.Message[order]) error {
	select {
	case s.packed <- m.Attributes[core.MessageIDAttribute]:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits until the order of a message is packed and a copy has arrived. It
// ignores orders of other runs of the program.
func (s *shipping) await(ctx context.Context, messageID string) error {
	for packed, copied := false, false; !packed || !copied; {
		select {
		case id := <-s.packed:
			packed = packed || id == messageID
		case <-s.copies:
			copied = true
		case <-ctx.Done():
			return fmt.Errorf("the order was not packed: %w", ctx.Err())
		}
	}
	return nil
}

// stop waits for running workers. Orders that are not packed stay in the inbox.
func (s *shipping) stop(ctx context.Context) error {
	return errors.Join(s.inbox.Stop(ctx), s.store.Close())
}
