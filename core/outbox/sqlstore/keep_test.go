package sqlstore

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// hold is for how long keys are remembered here.
const hold = time.Hour

func TestFinishTx(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		ctx := t.Context()
		record, plain := keyed(t, "key"), message(t)
		require.NoError(t, store.Insert(ctx, 0, record, plain))

		tx, err := store.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		n, err := store.FinishTx(ctx, tx, hold, record.ID)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		require.NoError(t, tx.Rollback())
		assert.Equal(t, idsOf([]outbox.Record{record, plain}), idsOf(stored(t, store)))

		tx, err = store.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		n, err = store.FinishTx(ctx, tx, hold, record.ID, plain.ID, "unknown")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		n, err = store.FinishTx(ctx, tx, hold, record.ID)
		require.NoError(t, err)
		assert.Zero(t, n)
		require.NoError(t, tx.Commit())
		require.NoError(t, store.Insert(ctx, 0, keyed(t, "key")))
		assert.Empty(t, stored(t, store))

		tx, err = store.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		id, found, err := store.HolderTx(ctx, tx, "key")
		require.NoError(t, err)
		assert.True(t, found)
		assert.Equal(t, record.ID, id)
		require.NoError(t, tx.Rollback())
		require.NoError(t, store.Check(ctx))
	})
}

// Of two transactions that finish a record one does, and the other waits and finds
// none.
func TestFinishTxOnce(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		ctx := t.Context()
		record := keyed(t, "key")
		require.NoError(t, store.Insert(ctx, 0, record))
		first, err := store.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		second, err := store.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		var seen int
		require.NoError(t, second.QueryRowContext(ctx, "SELECT count(*) FROM "+store.table.SQL()).Scan(&seen)) // its snapshot
		n, err := store.FinishTx(ctx, first, hold, record.ID)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		found := make(chan int)
		go func() {
			n, err := store.FinishTx(ctx, second, hold, record.ID)
			assert.NoError(t, err)
			found <- n
		}()
		require.NoError(t, first.Commit())
		assert.Zero(t, <-found)
		require.NoError(t, second.Rollback())
	})
}

func TestFinishTxArguments(t *testing.T) {
	store := opened(t, openSQLite(t, sqliteFile(t)), SQLite)
	tx, err := store.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	finish := func(ctx context.Context, tx outbox.Tx, keep time.Duration) error {
		_, err := store.FinishTx(ctx, tx, keep, "id")
		return err
	}
	require.ErrorIs(t, finish(t.Context(), nil, hold), outbox.ErrInvalid)
	require.ErrorIs(t, finish(t.Context(), tx, 0), outbox.ErrInvalid)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, finish(cancelled, tx, hold), context.Canceled)
	require.NoError(t, store.Close())
	require.ErrorIs(t, finish(t.Context(), tx, hold), outbox.ErrClosed)
}

func TestFinishPgxTx(t *testing.T) {
	ctx := t.Context()
	dsn := testdb.Postgres(t).Create(t)
	store := opened(t, connect(t, "pgx", dsn), Postgres)
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(ctx))) }()
	record := keyed(t, "key")
	require.NoError(t, store.Insert(ctx, 0, record))
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	for _, want := range []int{1, 0} {
		n, err := store.FinishTx(ctx, PgxTx(tx), hold, record.ID)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
	require.NoError(t, tx.Commit(ctx))
	assert.Empty(t, stored(t, store))
}
