package orms

import (
	"context"
	"database/sql"
	"errors"

	"github.com/postoffice-go/postoffice/core"
)

// insertOrder is for PostgreSQL; SQLite supports these placeholders, too.
const insertOrder = "INSERT INTO orders (number, item) VALUES ($1, $2)"

// PlaceSQL uses database/sql.
func PlaceSQL(ctx context.Context, db *sql.DB, client *core.Client, o Order) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if _, err := tx.ExecContext(ctx, insertOrder, o.Number, o.Item); err != nil {
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

// PlaceSQLWithGift uses database/sql with a savepoint set by hand.
func PlaceSQLWithGift(ctx context.Context, db *sql.DB, client *core.Client, o, gift Order) error {
	return InTx(ctx, db, client, func(ctx context.Context, tx *sql.Tx) error {
		if err := storeSQL(ctx, tx, client, o); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "SAVEPOINT gift"); err != nil {
			return err
		}
		err := storeSQL(ctx, tx, client, gift)
		if errors.Is(err, ErrSoldOut) {
			_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT gift")
		}
		return err
	})
}

func storeSQL(ctx context.Context, tx *sql.Tx, client *core.Client, o Order) error {
	if _, err := tx.ExecContext(ctx, insertOrder, o.Number, o.Item); err != nil {
		return err
	}
	if err := announce(ctx, client, o); err != nil {
		return err
	}
	return o.check()
}

// InTx runs a function in a transaction. The context of the function carries the
// transaction for the messages of the client. InTx commits if the function returns
// nil, and rolls back otherwise.
func InTx(ctx context.Context, db *sql.DB, client *core.Client, run func(ctx context.Context, tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if err := run(client.WithTx(ctx, tx), tx); err != nil {
		return err
	}
	return tx.Commit()
}
