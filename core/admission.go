package core

import (
	"context"
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// insert stores records in the outbox. While that is full it waits for room
// until patience ends or the client is stopped.
func (c *Client) insert(ctx, patience context.Context, delay time.Duration, records ...outbox.Record) error {
	ask := func() error { return c.insertNow(ctx, delay, records) }
	needed := loadOfRecords(records)
	if patience.Err() != nil || !c.room.blocks(needed) {
		if err := ask(); patience.Err() != nil || !waitsForRoom(err) {
			return err
		}
	}
	w := c.room.join(needed)
	defer w.leave()
	return w.wait(patience, c.stopping, ask)
}

func (c *Client) insertNow(ctx context.Context, delay time.Duration, records []outbox.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return c.cfg.outbox.Insert(ctx, delay, records...)
}

// noPatience is for those who do not wait for room.
func noPatience() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// admit stores messages that have a deduplication key, to be posted from the
// outbox: only there is it known which of them are new.
func (c *Client) admit(ctx context.Context, b batch) (Receipt, error) {
	if c.cfg.outbox == nil {
		return Receipt{}, invalid(fieldError("WithDedupKey", "needs Config.Outbox: it holds one message of each key"))
	}
	records, err := b.records()
	if err == nil {
		err = c.insert(ctx, ctx, 0, records...)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, ofOutbox(err))
	}
	c.relay.wake()
	return Receipt{State: Stored, IDs: []string{c.holder(ctx, records[0])}}, nil
}

// holderTimeout bounds how long it may take to tell who holds a key of a
// message that is accepted.
const holderTimeout = time.Second

// holder returns the id of the record that holds the key of one that was just
// inserted: its own, unless another one has it. Where that cannot be told, or
// the holder is delivered by now, it is its own.
func (c *Client) holder(ctx context.Context, record outbox.Record) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holderTimeout)
	defer cancel()
	query := outbox.Query{DedupKey: record.DedupKey, Limit: 1, MaxPayload: -1}
	if holders, err := c.cfg.outbox.List(ctx, query); err == nil && len(holders) > 0 {
		return holders[0].ID
	}
	return record.ID
}

// PublishTx publishes a message as part of a transaction of the caller's: it
// is delivered if, and only if, the transaction commits. The message is
// inserted into the outbox, which must be an [outbox.TxStore] in the database
// of the transaction, as those of core/outbox/sqlstore are. A *sql.Tx is
// passed as it is; for pgx there is sqlstore.PgxTx. WithDedupKey needs one that
// can be asked who holds the key: with sqlstore, a transaction that has the
// method QueryContext of a *sql.Tx, or one of PgxTx.
//
// The Receipt has the state Stored and the id of the message. Both hold once
// the caller has committed; the client never commits or rolls back. After an
// error nothing is published, and the transaction is to be rolled back: in
// PostgreSQL it can do nothing else. When the transaction has committed, this
// client's relay finds the message within milliseconds if that is soon after
// the call, otherwise within two seconds, as those of other processes do.
//
// The mode of a request has no influence. The call does not wait for room
// in a full outbox, as it may hold locks: it returns ErrOutboxFull.
//
// Errors: ErrInvalidMessage when the message can never be delivered,
// ErrClosed after Stop, ErrNoTransactions when there is no outbox or it
// cannot join transactions, ErrNotAccepted otherwise, wrapping that of the
// database.
func (c *Client) PublishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return c.publishTx(ctx, tx, topic, payload, nil, options)
}

func (c *Client) publishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, p *Publisher, options []PublishOption) (Receipt, error) {
	if err := c.callable(ctx); err != nil {
		return Receipt{}, err
	}
	if !c.cfg.observer.watchesCalls() {
		return c.publishInTx(ctx, tx, topic, payload, p, options)
	}
	return c.watch(ctx, PublishCall{Topic: topic, Messages: 1}, func(ctx context.Context) (Receipt, error) {
		return c.publishInTx(ctx, tx, topic, payload, p, options)
	})
}

func (c *Client) publishInTx(ctx context.Context, tx outbox.Tx, topic string, payload any, p *Publisher, options []PublishOption) (Receipt, error) {
	store, ok := c.cfg.outbox.(outbox.TxStore)
	if !ok {
		return Receipt{}, ErrNoTransactions
	}
	if typednil.Is(tx) {
		return Receipt{}, invalid(fieldError("tx", "is nil"))
	}
	b, err := newBatch(topic, p.base(), options)
	if err != nil {
		return Receipt{}, err
	}
	if err := b.add("payload", payload); err != nil {
		return Receipt{}, err
	}
	if err := c.enter(); err != nil {
		return Receipt{}, err
	}
	defer c.leave()
	records, err := b.records()
	if err == nil {
		err = store.InsertTx(ctx, tx, records...)
	}
	stored := ids(records)
	if err == nil && b.deduplicated() {
		stored, err = holderTx(ctx, store, tx, records[0])
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, ofOutbox(err))
	}
	c.relay.expect()
	return Receipt{State: Stored, IDs: stored}, nil
}

// holderTx is holder within a transaction. It asks there, because a pool of one
// connection has no other. An error has spoilt the transaction.
func holderTx(ctx context.Context, store outbox.TxStore, tx outbox.Tx, record outbox.Record) ([]string, error) {
	id, ok, err := store.HolderTx(ctx, tx, record.DedupKey)
	if !ok {
		id = record.ID
	}
	return []string{id}, err
}
