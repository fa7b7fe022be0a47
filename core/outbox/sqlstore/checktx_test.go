package sqlstore

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore/testdata/uptrace/bun"
)

// unitOfWork is a transaction that an app has added something to.
type unitOfWork struct{ bun.Tx }

// hiddenTx is a transaction whose type does not tell what it embeds.
type hiddenTx struct{ outbox.Tx }

// Tx embeds itself.
type Tx struct {
	*sql.Tx
	*loop
}

type loop struct{ *loop }

// TestInsertTxRefusesBun takes a type that looks like bun.Tx. The module of
// examples/orms has the real one.
func TestInsertTxRefusesBun(t *testing.T) {
	store := opened(t, openSQLite(t, sqliteFile(t)), SQLite)
	tx, err := store.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	of := bun.Tx{Tx: tx}
	for name, refused := range map[string]outbox.Tx{
		"bun.Tx": of, "*bun.Tx": &of, "sqlstore.unitOfWork": unitOfWork{of}, "*sqlstore.unitOfWork": &unitOfWork{of},
		"sqlstore.hiddenTx": hiddenTx{&unitOfWork{of}},
	} {
		err := store.InsertTx(t.Context(), refused, message(t))
		require.ErrorIs(t, err, outbox.ErrInvalid)
		assert.ErrorContains(t, err, "tx is a "+name+", which writes arguments into the text of a statement: pass its *sql.Tx, the field tx.Tx")
		_, _, err = store.HolderTx(t.Context(), refused, "key")
		require.ErrorIs(t, err, outbox.ErrInvalid)
		assert.ErrorContains(t, err, "tx.Tx")
	}
	cycle := &loop{}
	cycle.loop = cycle
	for _, taken := range []outbox.Tx{tx, of.Tx, Tx{Tx: tx, loop: cycle}, &Tx{Tx: tx}, hiddenTx{tx}} {
		require.NoError(t, store.InsertTx(t.Context(), taken, message(t)))
	}
	require.NoError(t, tx.Commit())
	assert.Len(t, stored(t, store), 5)
}
