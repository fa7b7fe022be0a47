package core

import (
	"context"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// txKey is the context key of the transaction that the messages of one client
// join. The pipeline identifies the client.
type txKey struct{ pipeline *pipeline }

// joined wraps the transaction in a context, which distinguishes a nil
// transaction from none.
type joined struct{ tx outbox.Tx }

// WithTx returns a context that carries a transaction. Every Publish and
// PublishBulk of this client and of its publishers with that context, or with
// one derived from it, is part of the transaction, exactly as with
// [Client.PublishTx]. Services and repositories that receive the context do not
// need to know about it:
//
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	ctx = client.WithTx(ctx, tx)
//	err = service.PlaceOrder(ctx, order) // stores with tx, publishes with ctx
//	…
//	err = tx.Commit()
//
// Either all payloads of a PublishBulk are part of the transaction, or none.
// Other clients are not affected. PublishTx uses its own transaction, and the
// context of a nested WithTx carries the inner one. The mode and FlushOn of a
// request have no effect on the messages.
//
// Use the context only while the transaction is open. WithTx itself reports no
// error. Publish and PublishBulk with the context never publish outside of the
// transaction; they return the errors of PublishTx: ErrNoTransactions if there
// is no outbox or it cannot join transactions, ErrInvalidMessage if tx is nil,
// and ErrNotAccepted with the error of the database after the end of the
// transaction. A nil ctx counts as context.Background.
func (c *Client) WithTx(ctx context.Context, tx outbox.Tx) context.Context {
	if typednil.Is(ctx) {
		ctx = context.Background()
	}
	if c.present() != nil {
		return ctx
	}
	c.pipeline.joins.Store(true)
	return context.WithValue(ctx, txKey{c.pipeline}, joined{tx})
}

// join makes a call part of the transaction in its context, if there is one.
// Before the first call to WithTx, it does not search the context.
func (p *pipeline) join(ctx context.Context, k *call) {
	if k.inTx || !p.joins.Load() {
		return
	}
	if in, ok := ctx.Value(txKey{p}).(joined); ok {
		k.tx, k.inTx = in.tx, true
	}
}
