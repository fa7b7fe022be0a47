package orms

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/postoffice-go/postoffice/core"
)

// PlaceSqlx uses sqlx.
func PlaceSqlx(ctx context.Context, db *sqlx.DB, client *core.Client, o Order) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if _, err := tx.NamedExecContext(ctx, "INSERT INTO orders (number, item) VALUES (:number, :item)", o); err != nil {
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

// PlaceSqlxWithGift uses sqlx with a savepoint set by hand.
func PlaceSqlxWithGift(ctx context.Context, db *sqlx.DB, client *core.Client, o, gift Order) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	ctx = client.WithTx(ctx, tx)
	if err := storeSqlx(ctx, tx, client, o); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT gift"); err != nil {
		return err
	}
	err = storeSqlx(ctx, tx, client, gift)
	if errors.Is(err, ErrSoldOut) {
		_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT gift")
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

func storeSqlx(ctx context.Context, tx *sqlx.Tx, client *core.Client, o Order) error {
	if _, err := tx.NamedExecContext(ctx, "INSERT INTO orders (number, item) VALUES (:number, :item)", o); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}
