package orms_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
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
	"github.com/postoffice-go/postoffice/examples/orms"
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

func TestHandler(t *testing.T) {
	each(t, func(t *testing.T, s *shop, _ sqlstore.Dialect) {
		handler := orms.NewHandler(s.db, s.client)
		post := func(item string) int {
			body := strings.NewReader(url.Values{"item": {item}}.Encode())
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Code
		}
		assert.Equal(t, http.StatusInternalServerError, post("unicorn"))
		assert.Empty(t, s.orders(t))
		assert.Empty(t, s.messages(t))
		assert.Equal(t, http.StatusCreated, post("it's a $1 ? teapot"))
		assert.Equal(t, []int64{1}, s.orders(t))
		assert.Equal(t, []string{teapot1}, s.messages(t))
		assert.Equal(t, http.StatusInternalServerError, post("another"))
		assert.Equal(t, []string{teapot1}, s.messages(t))
	})
}
