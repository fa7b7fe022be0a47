package orms

import (
	"context"
	"errors"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/examples/orms/ent"
)

// PlaceEnt uses ent, generated with the feature sql/execquery.
func PlaceEnt(ctx context.Context, db *ent.Client, client *core.Client, o Order) error {
	tx, err := db.Tx(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if err := tx.Order.Create().SetID(o.Number).SetItem(o.Item).Exec(ctx); err != nil {
		return err
	}
	if _, err := client.PublishTx(ctx, tx, "orders", o); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	return tx.Commit()
}

// PlaceEntWithGift uses ent. ent has no nested transactions, so it sets a savepoint
// by hand.
func PlaceEntWithGift(ctx context.Context, db *ent.Client, client *core.Client, o, gift Order) error {
	tx, err := db.Tx(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	ctx = client.WithTx(ctx, tx)
	if err := storeEnt(ctx, tx, client, o); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT gift"); err != nil {
		return err
	}
	err = storeEnt(ctx, tx, client, gift)
	if errors.Is(err, ErrSoldOut) {
		_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT gift")
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

func storeEnt(ctx context.Context, tx *ent.Tx, client *core.Client, o Order) error {
	if err := tx.Order.Create().SetID(o.Number).SetItem(o.Item).Exec(ctx); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}
