package orms

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/postoffice-go/postoffice/core"
)

// PlaceBun uses bun.
func PlaceBun(ctx context.Context, db *bun.DB, client *core.Client, o Order) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&o).Exec(ctx); err != nil {
			return err
		}
		if _, err := client.PublishTx(ctx, tx.Tx, "orders", o); err != nil { // not tx
			return err
		}
		return o.check()
	})
}

// PlaceBunWithGift nests a transaction of bun. The function of a nested RunInTx gets
// the context of the outer transaction, without the values of the context passed to
// RunInTx: so each function calls WithTx itself.
func PlaceBunWithGift(ctx context.Context, db *bun.DB, client *core.Client, o, gift Order) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := storeBun(client.WithTx(ctx, tx.Tx), tx, client, o); err != nil {
			return err
		}
		err := tx.RunInTx(ctx, nil, func(ctx context.Context, nested bun.Tx) error {
			return storeBun(client.WithTx(ctx, nested.Tx), nested, client, gift)
		})
		if errors.Is(err, ErrSoldOut) {
			return nil
		}
		return err
	})
}

func storeBun(ctx context.Context, tx bun.Tx, client *core.Client, o Order) error {
	if _, err := tx.NewInsert().Model(&o).Exec(ctx); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}
