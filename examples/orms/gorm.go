package orms

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// PlaceGORM uses GORM.
func PlaceGORM(ctx context.Context, db *gorm.DB, client *core.Client, o Order) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&o).Error; err != nil {
			return err
		}
		sqlTx, _ := tx.Statement.ConnPool.(outbox.Tx) // nil outside a transaction: PublishTx returns an error
		if _, err := client.PublishTx(ctx, sqlTx, "orders", o); err != nil {
			return err
		}
		return o.check()
	})
}

// PlaceGORMWithGift nests a transaction of GORM.
func PlaceGORMWithGift(ctx context.Context, db *gorm.DB, client *core.Client, o, gift Order) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := storeGORM(tx, client, o); err != nil {
			return err
		}
		err := tx.Transaction(func(nested *gorm.DB) error { return storeGORM(nested, client, gift) })
		if errors.Is(err, ErrSoldOut) {
			return nil
		}
		return err
	})
}

func storeGORM(tx *gorm.DB, client *core.Client, o Order) error {
	if err := tx.Create(&o).Error; err != nil {
		return err
	}
	sqlTx, _ := tx.Statement.ConnPool.(outbox.Tx)
	if err := announce(client.WithTx(tx.Statement.Context, sqlTx), client, o); err != nil {
		return err
	}
	return o.check()
}
