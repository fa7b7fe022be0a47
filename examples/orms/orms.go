// Package orms shows how messages join transactions with common database libraries:
// database/sql, pgx, sqlx, sqlc, GORM, bun and ent, on PostgreSQL and SQLite. The
// tests run every function on every database that it supports.
//
// For each library, one function places an order: the message is delivered if and
// only if the order is committed. Another one places an order with a gift in a
// nested transaction, that is, in a savepoint: a gift that is sold out undoes
// neither the order nor its message.
package orms

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core"
)

// Order is a row of the table orders, and the message about it.
type Order struct {
	Number int64  `json:"number" db:"number" gorm:"primaryKey;autoIncrement:false" bun:",pk"`
	Item   string `json:"item" db:"item"`
}

// ErrSoldOut means that an order cannot be placed.
var ErrSoldOut = errors.New("sold out")

// check is a step that can fail after the message was published.
func (o Order) check() error {
	if o.Item == "unicorn" {
		return fmt.Errorf("order %d: %w", o.Number, ErrSoldOut)
	}
	return nil
}

// announce publishes an order. It stands for code that does not know the
// transaction: the context carries it.
func announce(ctx context.Context, client *core.Client, o Order) error {
	_, err := client.Publish(ctx, "orders", o, core.WithDedupKey(fmt.Sprintf("order %d", o.Number)))
	return err
}
