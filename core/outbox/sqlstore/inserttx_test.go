package sqlstore

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

func TestInsertTx(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		run(t, store.db.DB, "CREATE TABLE orders (id INTEGER)")
		ctx := t.Context()
		records := messages(t, 300)
		records[1].State, records[1].LeaseToken = outbox.Dead, "dropped"
		begin := func() *sql.Tx {
			tx, err := store.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO orders VALUES (1)")
			require.NoError(t, err)
			return tx
		}
		orders := func() (n int) {
			require.NoError(t, store.db.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&n))
			return n
		}

		tx := begin()
		require.NoError(t, store.InsertTx(ctx, tx, records...))
		require.NoError(t, tx.Rollback())
		assert.Empty(t, stored(t, store))
		assert.Zero(t, orders())

		tx = begin()
		require.NoError(t, store.InsertTx(ctx, tx))
		require.NoError(t, store.InsertTx(ctx, tx, records[:3]...))
		require.NoError(t, store.InsertTx(ctx, tx, records...), "what is there is left as it is")
		require.NoError(t, tx.Commit())
		all := stored(t, store)
		assert.Equal(t, idsOf(records), idsOf(all))
		assert.Equal(t, 1, orders())
		assert.Equal(t, outbox.Dead, all[1].State)
		assert.Empty(t, all[1].LeaseToken)
		assert.Equal(t, string(records[2].Payload), string(all[2].Payload))
		assert.Len(t, claimed(t, store, 1000), 299, "they are due at once")
	})
}

func TestInsertTxArguments(t *testing.T) {
	store := opened(t, openSQLite(t, sqliteFile(t)), SQLite)
	tx, err := store.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	var none *sql.Tx
	require.ErrorIs(t, store.InsertTx(t.Context(), none, message(t)), outbox.ErrInvalid)
	require.ErrorIs(t, store.InsertTx(t.Context(), nil, message(t)), outbox.ErrInvalid)
	require.ErrorIs(t, store.InsertTx(t.Context(), tx, outbox.Record{ID: "a"}), outbox.ErrInvalid)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, store.InsertTx(cancelled, tx, message(t)), context.Canceled)
	require.NoError(t, store.Close())
	require.ErrorIs(t, store.InsertTx(t.Context(), tx, message(t)), outbox.ErrClosed)
}

// TestFailedStatementAbortsPostgres shows what the documentation says of an
// error of InsertTx.
func TestFailedStatementAbortsPostgres(t *testing.T) {
	store := opened(t, stands[0].open(t), Postgres)
	run(t, store.db.DB, "ALTER TABLE "+store.table.SQL()+" ADD CHECK (topic <> 'refused')")
	tx, err := store.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	record := message(t)
	record.Topic = "refused"
	require.ErrorContains(t, store.InsertTx(t.Context(), tx, record), "violates check constraint")
	require.ErrorContains(t, store.InsertTx(t.Context(), tx, message(t)), "transaction is aborted")
	require.NoError(t, tx.Rollback())
}

func TestPgxTx(t *testing.T) {
	ctx := t.Context()
	for _, mode := range []string{"", "&default_query_exec_mode=exec", "&default_query_exec_mode=simple_protocol"} {
		dsn := testdb.Postgres(t).Create(t)
		store := opened(t, connect(t, "pgx", dsn), Postgres)
		conn, err := pgx.Connect(ctx, dsn+mode)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(context.WithoutCancel(ctx))) }()
		records := messages(t, 300)
		records[0].Payload = []byte("{\"x\":\"\u0001\\\\ ' \xf0\x9f\x90\x8e\"}")

		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, store.InsertTx(ctx, PgxTx(tx), records...))
		require.NoError(t, tx.Rollback(ctx))
		assert.Empty(t, stored(t, store))

		tx, err = conn.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, store.InsertTx(ctx, PgxTx(tx), records...))
		require.NoError(t, store.InsertTx(ctx, PgxTx(tx), records[0]))
		require.NoError(t, tx.Commit(ctx))
		all := stored(t, store)
		assert.Equal(t, idsOf(records), idsOf(all))
		assert.Equal(t, string(records[0].Payload), string(all[0].Payload))

		tx, err = conn.Begin(ctx)
		require.NoError(t, err)
		run(t, store.db.DB, "DROP TABLE "+store.table.SQL())
		require.ErrorIs(t, store.InsertTx(ctx, PgxTx(tx), records...), ErrSchema)
		require.NoError(t, PgxTx(tx).Rollback())
		tx, err = conn.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, PgxTx(tx).Commit())
	}
	require.ErrorIs(t, opened(t, openSQLite(t, sqliteFile(t)), SQLite).InsertTx(ctx, PgxTx(pgx.Tx(nil)), message(t)), outbox.ErrInvalid)
	require.Nil(t, PgxTx(pgx.Tx((*struct{ pgx.Tx })(nil))))
}
