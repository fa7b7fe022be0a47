package core

import (
	"context"
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Outbox looks after the messages that a client's outbox holds: those that
// wait to be delivered and those that are dead, because the server refuses
// them for good. Nothing in it is ever deleted but by delivery, by the
// server's rescuer once it has the message, and by Discard.
type Outbox struct{ client *Client }

// Outbox returns what looks after the client's outbox. Without one, its
// methods return ErrNoOutbox. It works before Start and after Stop, as long
// as the store is open.
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

// Stats counts the messages: how many wait, how many are dead, their bytes
// and since when the oldest waits.
func (o *Outbox) Stats(ctx context.Context) (outbox.Stats, error) {
	store, err := o.store()
	if err != nil {
		return outbox.Stats{}, err
	}
	stats, err := store.Stats(ctx)
	return stats, outboxError(err)
}

// List returns messages by ascending id, a page of 100 unless the query says
// otherwise. The id of a page's last message is the After of the next one.
// Payloads may be large: MaxPayload of the query leaves them out or cuts them.
func (o *Outbox) List(ctx context.Context, query outbox.Query) ([]outbox.Record, error) {
	store, err := o.store()
	if err != nil {
		return nil, err
	}
	records, err := store.List(ctx, query)
	return records, outboxError(err)
}

// Count returns how many messages Retry or Discard would find now. In a large
// table that may take a while; the context bounds it.
func (o *Outbox) Count(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Count(ctx, selection)
	return n, outboxError(err)
}

// Retry has the selected messages delivered again, now, also dead ones, and
// returns how many there were.
func (o *Outbox) Retry(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Retry(ctx, selection)
	if n > 0 {
		o.client.relay.wake()
	}
	return n, outboxError(err)
}

// Discard deletes the selected messages without delivering them and returns
// how many there were. One that is being posted at this moment may arrive
// nevertheless.
func (o *Outbox) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	store, err := o.store()
	if err != nil {
		return 0, err
	}
	n, err := store.Discard(ctx, selection)
	if n > 0 {
		o.client.cfg.logger.Info("postoffice: messages were discarded from the outbox", "messages", n)
		emit(o.client.cfg.observer.Discarded, Event{Topic: selection.Topic, Messages: n, FromOutbox: true})
	}
	return n, outboxError(err)
}

// outboxError tells whose error it is.
func outboxError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", prefix, ofOutbox(err))
}
