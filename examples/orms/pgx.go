package orms

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// PlacePgx uses a pool of pgx. The outbox uses the same pool: its *sql.DB is made by
// stdlib.OpenDBFromPool.
func PlacePgx(ctx context.Context, pool *pgxpool.Pool, client *core.Client, o Order) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertOrder, o.Number, o.Item); err != nil {
			return err
		}
		if _, err := client.PublishTx(ctx, sqlstore.PgxTx(tx), "orders", o); err != nil {
			return err
		}
		return o.check()
	})
}

// PlacePgxWithGift nests a transaction of pgx.
func PlacePgxWithGift(ctx context.Context, pool *pgxpool.Pool, client *core.Client, o, gift Order) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := storePgx(client.WithTx(ctx, sqlstore.PgxTx(tx)), tx, client, o); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, tx, func(nested pgx.Tx) error {
			return storePgx(client.WithTx(ctx, sqlstore.PgxTx(nested)), nested, client, gift)
		})
		if errors.Is(err, ErrSoldOut) {
			return nil
		}
		return err
	})
}

func storePgx(ctx context.Context, tx pgx.Tx, client *core.Client, o Order) error {
	if _, err := tx.Exec(ctx, insertOrder, o.Number, o.Item); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}
