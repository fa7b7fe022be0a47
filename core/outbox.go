package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Outbox manages the messages in a client's outbox: pending messages wait for
// delivery, and dead messages were refused permanently by the server. A message
// leaves the outbox only when it is delivered, when the server's rescuer
// confirms it, or by Discard.
type Outbox struct{ client *Client }

// Outbox returns the manager of the client's outbox. Without an outbox, its
// methods return ErrNoOutbox. It works before Start and after Stop, as long as
// the store is open.
func (c *Client) Outbox() *Outbox { return &Outbox{c} }

// store returns the store, if there is one.
func (o *Outbox) store() (outbox.Store, error) {
	if err := o.client.present(); err != nil {
		return nil, err
	}
	if o.client.cfg.outbox == nil {
		return nil, ErrNoOutbox
	}
	return o.client.cfg.outbox, nil
}

// Stats returns the number of pending and dead messages, their size in bytes
// and the age of the oldest pending message.
func (o *Outbox) Stats(ctx context.Context) (outbox.Stats, error) {
	store, err := o.store()
	if err != nil {
		return outbox.Stats{}, err
	}
	stats, err := store.Stats(ctx)
	return stats, outboxError(err)
}

// CountTopics returns the topics with the most messages, at most limit, the largest
// first. It may take a while in a large table; the context bounds it. The error is
// errors.ErrUnsupported if the store is not an outbox.TopicCounter.
func (o *Outbox) CountTopics(ctx context.Context, limit int) ([]outbox.TopicCount, error) {
	store, err := o.store()
	if err != nil {
		return nil, err
	}
	counter, ok := store.(outbox.TopicCounter)
	if !ok {
		return nil, outboxError(errors.ErrUnsupported)
	}
	counts, err := counter.CountTopics(ctx, limit)
	return counts, outboxError(err)
}

// List returns messages by ascending id, in pages of 100 unless the query sets
// another limit. To get the next page, set After to the id of the last message;
// [outbox.All] iterates over all of them.
// Payloads may be large: the query's MaxPayload truncates or omits them;
// entries have their full sizes.
func (o *Outbox) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	store, err := o.store()
	if err != nil {
		return nil, err
	}
	entries, err := store.List(ctx, query)
	return entries, outboxError(err)
}

// Count returns the number of messages that Retry or Discard would select now.
// It may take a while in a large table; the context bounds it.
func (o *Outbox) Count(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Count(ctx, selection)
	return n, outboxError(err)
}

// Retry makes the selected messages due now, including dead ones, and returns
// their number.
func (o *Outbox) Retry(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Retry(ctx, selection)
	if n > 0 {
		o.client.relay.Wake()
	}
	return n, outboxError(err)
}

// Discard deletes the selected messages without delivering them and returns
// their number. A message that is being posted at the same time may still
// arrive.
func (o *Outbox) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Discard(ctx, selection)
	if n > 0 {
		o.client.events.log.Always(slog.LevelInfo, "messages were discarded from the outbox", "messages", n)
		emit(o.client.events.observer.Discarded, Event{Topic: selection.Topic, Messages: n, FromOutbox: true})
	}
	return n, outboxError(err)
}

// outboxError adds the prefix and marks an error as an error of the outbox.
func outboxError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", prefix, ofOutbox(err))
}
