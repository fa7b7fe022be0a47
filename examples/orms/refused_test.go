package orms_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// unitOfWork is a transaction that an app has added something to.
type unitOfWork struct{ bun.Tx }

func TestBunTxIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *shop, name sqlstore.Dialect) {
		var dialect schema.Dialect = sqlitedialect.New()
		if name == sqlstore.Postgres {
			dialect = pgdialect.New()
		}
		undone := errors.New("undone")
		require.ErrorIs(t, bun.NewDB(s.db, dialect).RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
			for _, refused := range []outbox.Tx{tx, &tx, unitOfWork{tx}} {
				_, err := s.client.PublishTx(ctx, refused, "orders", order(1, "teapot"))
				require.ErrorIs(t, err, core.ErrNotAccepted)
				assert.ErrorContains(t, err, "tx.Tx")
				_, err = s.client.Publish(s.client.WithTx(ctx, refused), "orders", order(1, "teapot"))
				assert.ErrorContains(t, err, "tx.Tx")
			}
			_, err := s.client.PublishTx(ctx, tx.Tx, "orders", order(1, "teapot"))
			require.NoError(t, err, "the transaction is not spoilt")
			return undone
		}), undone)
		assert.Empty(t, s.messages(t))
	})
}

func TestGORMOutsideOfATransaction(t *testing.T) {
	var s shop
	s.open(t, sqlstore.SQLite)
	for _, prepare := range []bool{false, true} {
		db, err := gorm.Open(sqlite.New(sqlite.Config{Conn: s.db}), &gorm.Config{PrepareStmt: prepare})
		require.NoError(t, err)
		none, ok := db.Statement.ConnPool.(outbox.Tx)
		assert.False(t, ok)
		_, err = s.client.PublishTx(t.Context(), none, "orders", order(1, "teapot"))
		require.ErrorIs(t, err, core.ErrInvalidMessage)
		assert.ErrorContains(t, err, "tx is nil")
	}
	assert.Empty(t, s.messages(t))
}
