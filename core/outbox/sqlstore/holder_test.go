package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// holderTx inserts a record in a transaction and returns who holds its key.
func holderTx(t *testing.T, store *Store, tx outbox.Tx, record outbox.Record) string {
	t.Helper()
	require.NoError(t, store.InsertTx(t.Context(), tx, record))
	id, ok, err := store.HolderTx(t.Context(), tx, record.DedupKey)
	require.NoError(t, err)
	require.True(t, ok)
	return id
}

func TestKeysInTransactions(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		begin := func() *sql.Tx {
			tx, err := store.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			return tx
		}
		const key = `it's "a" \key\`
		tx := begin()
		_, ok, err := store.HolderTx(t.Context(), tx, key)
		require.NoError(t, err)
		assert.False(t, ok)
		record := keyed(t, key)
		assert.Equal(t, record.ID, holderTx(t, store, tx, record))
		require.NoError(t, tx.Rollback())
		assert.Empty(t, stored(t, store))

		first, second := keyed(t, key), keyed(t, key)
		tx = begin()
		assert.Equal(t, first.ID, holderTx(t, store, tx, first))
		assert.Equal(t, first.ID, holderTx(t, store, tx, second), "in the same transaction")
		require.NoError(t, store.InsertTx(t.Context(), tx, append(messages(t, 3), second, keyed(t, "another"))...))
		require.NoError(t, tx.Commit())
		tx = begin()
		assert.Equal(t, first.ID, holderTx(t, store, tx, second))
		require.NoError(t, tx.Commit())
		assert.Len(t, stored(t, store), 5)
		assert.Equal(t, []string{first.ID}, holdersOf(t, store, key))
	})
}

func TestKeysInPgxTransactions(t *testing.T) {
	ctx := t.Context()
	for _, mode := range []string{"", "&default_query_exec_mode=exec", "&default_query_exec_mode=simple_protocol"} {
		dsn := testdb.Postgres(t).Create(t)
		store := opened(t, connect(t, "pgx", dsn), Postgres)
		conn, err := pgx.Connect(ctx, dsn+mode)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(context.WithoutCancel(ctx))) }()
		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		first := keyed(t, "key")
		assert.Equal(t, first.ID, holderTx(t, store, PgxTx(tx), first))
		assert.Equal(t, first.ID, holderTx(t, store, PgxTx(tx), keyed(t, "key")))
		require.NoError(t, tx.Commit(ctx))
		assert.Equal(t, []string{first.ID}, holdersOf(t, store, "key"))
	}
}

// muteTx is a transaction that returns no rows.
type muteTx struct{ tx *sql.Tx }

func (m muteTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return m.tx.ExecContext(ctx, query, args...)
}
func (m muteTx) Commit() error   { return m.tx.Commit() }
func (m muteTx) Rollback() error { return m.tx.Rollback() }

func TestHolderTxArguments(t *testing.T) {
	store := opened(t, openSQLite(t, sqliteFile(t)), SQLite)
	ctx := t.Context()
	tx, err := store.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	ask := func(ctx context.Context, tx outbox.Tx, key string) error {
		_, ok, err := store.HolderTx(ctx, tx, key)
		assert.False(t, ok)
		return err
	}
	mute := muteTx{tx}
	require.NoError(t, store.InsertTx(ctx, mute, message(t)), "without a key nothing is asked")
	require.ErrorIs(t, store.InsertTx(ctx, mute, message(t), keyed(t, "key")), outbox.ErrInvalid)
	require.ErrorIs(t, ask(ctx, mute, "key"), outbox.ErrInvalid)
	require.ErrorContains(t, ask(ctx, mute, "key"), "QueryContext")
	require.ErrorIs(t, ask(ctx, nil, "key"), outbox.ErrInvalid)
	require.ErrorIs(t, ask(ctx, (*sql.Tx)(nil), "key"), outbox.ErrInvalid)
	require.ErrorIs(t, ask(ctx, tx, "\xff"), outbox.ErrInvalid)
	require.NoError(t, ask(ctx, tx, ""), "nobody holds no key")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, ask(cancelled, tx, "key"), context.Canceled)
	require.NoError(t, store.Close())
	require.ErrorIs(t, ask(ctx, tx, "key"), outbox.ErrClosed)
}

// TestKeysInTransactionsThatSeeThePast has the holder of a key change after a
// transaction at REPEATABLE READ has begun to see the past. What is left out
// then must not be what nobody holds.
func TestKeysInTransactionsThatSeeThePast(t *testing.T) {
	byID := message(t)
	byID.ID = "key"
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		for _, c := range []struct {
			name           string
			before, during []outbox.Record
			gone           bool // the one before
		}{
			{"the holder has gone", []outbox.Record{keyed(t, "key")}, nil, true},
			{"a holder by its id has gone", []outbox.Record{byID}, nil, true},
			{"a holder has come", nil, []outbox.Record{keyed(t, "key")}, false},
			{"one has gone and another come", []outbox.Record{keyed(t, "key")}, []outbox.Record{keyed(t, "key")}, true},
		} {
			store := opened(t, stand.open(t), stand.dialect)
			ctx := t.Context()
			require.NoError(t, store.Insert(ctx, 0, c.before...))
			tx, err := store.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
			require.NoError(t, err)
			var n int
			require.NoError(t, tx.QueryRowContext(ctx, "SELECT count(*) FROM "+store.table.SQL()).Scan(&n))
			require.Len(t, c.before, n)
			if c.gone {
				_, err = store.Delete(ctx, idsOf(c.before)...)
				require.NoError(t, err)
			}
			require.NoError(t, store.Insert(ctx, 0, c.during...))

			mine := keyed(t, "key")
			err = store.InsertTx(ctx, tx, mine)
			if err != nil { // PostgreSQL has the caller repeat the transaction
				require.ErrorContains(t, err, "could not serialize access", c.name)
				require.Equal(t, Postgres, stand.dialect)
				require.NoError(t, tx.Rollback())
				continue
			}
			id, _, err := store.HolderTx(ctx, tx, "key")
			require.NoError(t, err, c.name)
			require.NoError(t, tx.Commit())
			want := mine.ID
			if len(c.during) > 0 {
				want = c.during[0].ID
			}
			assert.Contains(t, []string{want, ""}, id, c.name)
			assert.Equal(t, []string{want}, holdersOf(t, store, "key"), c.name)
		}
	})
}

// TestKeyOfAnOpenTransaction shows that an insert of a key waits for a
// transaction that has inserted it, and no other insert does.
func TestKeyOfAnOpenTransaction(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		for _, commit := range []bool{true, false} {
			store := opened(t, stand.open(t), stand.dialect)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // a test that hangs fails
			defer cancel()
			tx, err := store.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			first, second := keyed(t, "key"), keyed(t, "key")
			require.Equal(t, first.ID, holderTx(t, store, tx, first))
			inserted := make(chan error, 1)
			go func() { inserted <- store.Insert(ctx, 0, second) }()
			for i := range 5 {
				require.NoError(t, store.Insert(ctx, 0, message(t), keyed(t, fmt.Sprint("another ", i))))
			}
			want := second.ID
			if commit {
				want = first.ID
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
			}
			require.NoError(t, <-inserted)
			assert.Equal(t, []string{want}, holdersOf(t, store, "key"))
		}
	})
}
