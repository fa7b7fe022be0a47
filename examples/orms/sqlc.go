package orms

import (
	"context"
	"database/sql"
	"errors"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/examples/orms/sqlc"
)

// PlaceSqlc uses the code that sqlc generates from sqlc/queries.sql.
func PlaceSqlc(ctx context.Context, db *sql.DB, client *core.Client, o Order) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	queries := sqlc.New(db).WithTx(tx)
	if err := queries.InsertOrder(ctx, sqlc.InsertOrderParams(o)); err != nil {
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

// PlaceSqlcWithGift uses the code of sqlc with a savepoint set by hand.
func PlaceSqlcWithGift(ctx context.Context, db *sql.DB, client *core.Client, o, gift Order) error {
	return InTx(ctx, db, client, func(ctx context.Context, tx *sql.Tx) error {
		queries := sqlc.New(db).WithTx(tx)
		if err := storeSqlc(ctx, queries, client, o); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "SAVEPOINT gift"); err != nil {
			return err
		}
		err := storeSqlc(ctx, queries, client, gift)
		if errors.Is(err, ErrSoldOut) {
			_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT gift")
		}
		return err
	})
}

func storeSqlc(ctx context.Context, queries *sqlc.Queries, client *core.Client, o Order) error {
	if err := queries.InsertOrder(ctx, sqlc.InsertOrderParams(o)); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}
