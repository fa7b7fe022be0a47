package sqldedup_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// begin begins a message that nobody has.
func begin(t *testing.T, store *sqldedup.Store, lease time.Duration) string {
	t.Helper()
	state, token, err := store.Begin(t.Context(), "key", lease)
	require.NoError(t, err)
	require.Equal(t, delivery.Begun, state)
	return token
}

func state(t *testing.T, store *sqldedup.Store) delivery.State {
	t.Helper()
	state, _, err := store.Begin(t.Context(), "key", time.Hour)
	require.NoError(t, err)
	return state
}

func beginTx(t *testing.T, db *sql.DB, isolation sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: isolation})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func TestDoneTx(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		levels := []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
		if stand.dialect == sqlstore.SQLite {
			levels = levels[:1]
		}
		for _, level := range levels {
			t.Run(level.String(), func(t *testing.T) {
				store, _ := opened(t, db, stand.dialect)
				token := begin(t, store, time.Hour)
				tx := beginTx(t, db, level)
				require.NoError(t, store.DoneTx(t.Context(), tx, "key", token, time.Hour))
				require.NoError(t, tx.Rollback())
				require.Equal(t, delivery.Running, state(t, store), "nothing was committed")

				tx = beginTx(t, db, level)
				require.NoError(t, store.DoneTx(t.Context(), tx, "key", token, time.Hour))
				require.NoError(t, tx.Commit())
				require.Equal(t, delivery.Handled, state(t, store))
				require.NoError(t, store.Done(t.Context(), "key", token, time.Hour), "what a handler does afterwards")
				require.NoError(t, store.Abort(t.Context(), "key", token))
				require.Equal(t, delivery.Handled, state(t, store))
			})
		}
	})
}

// TestDoneTxAfterATakeover has a copy begin while the first is at work: the
// first one's transaction must not be committed.
func TestDoneTxAfterATakeover(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		store, _ := opened(t, db, stand.dialect)
		late := begin(t, store, 10*time.Millisecond)
		var token string
		require.Eventually(t, func() bool {
			state, got, err := store.Begin(t.Context(), "key", time.Hour)
			require.NoError(t, err)
			token = got
			return state == delivery.Begun
		}, 20*time.Second, 5*time.Millisecond)
		tx := beginTx(t, db, sql.LevelDefault)
		require.ErrorIs(t, store.DoneTx(t.Context(), tx, "key", late, time.Hour), delivery.ErrLeaseLost)
		require.NoError(t, tx.Rollback())
		tx = beginTx(t, db, sql.LevelDefault)
		require.NoError(t, store.DoneTx(t.Context(), tx, "key", token, time.Hour))
		require.NoError(t, tx.Commit())
	})
}

// TestTakeoverWaitsForTheTransaction has a lease end while the transaction is
// open: a copy must not begin before it is known how that ends.
func TestTakeoverWaitsForTheTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		for name, end := range map[string]struct {
			end  func(*sql.Tx) error
			want delivery.State
		}{
			"Commit":   {(*sql.Tx).Commit, delivery.Handled},
			"Rollback": {(*sql.Tx).Rollback, delivery.Begun},
		} {
			t.Run(name, func(t *testing.T) {
				store, _ := opened(t, db, stand.dialect)
				token := begin(t, store, time.Microsecond)
				tx := beginTx(t, db, sql.LevelDefault)
				require.NoError(t, store.DoneTx(t.Context(), tx, "key", token, time.Hour))
				got := make(chan delivery.State, 1)
				go func() {
					state, _, err := store.Begin(t.Context(), "key", time.Hour)
					assert.NoError(t, err)
					got <- state
				}()
				select {
				case early := <-got:
					t.Fatalf("a copy is %v while the transaction is open", early)
				case <-time.After(100 * time.Millisecond):
				}
				require.NoError(t, end.end(tx))
				assert.Equal(t, end.want, <-got)
			})
		}
	})
}

func TestDoneTxOfPgx(t *testing.T) {
	dsn := testdb.Postgres(t).Create(t)
	store, _ := opened(t, connect(t, "pgx", dsn), sqlstore.Postgres)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close(context.Background())) })
	token := begin(t, store, time.Hour)
	for _, end := range []func(pgx.Tx, context.Context) error{pgx.Tx.Rollback, pgx.Tx.Commit} {
		require.Equal(t, delivery.Running, state(t, store))
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, store.DoneTx(t.Context(), sqlstore.PgxTx(tx), "key", token, time.Hour))
		require.NoError(t, end(tx, t.Context()))
	}
	assert.Equal(t, delivery.Handled, state(t, store))
	require.ErrorIs(t, store.DoneTx(t.Context(), nil, "key", token, time.Hour), sqldedup.ErrInvalid)
	require.ErrorIs(t, store.DoneTx(t.Context(), (*sql.Tx)(nil), "key", token, time.Hour), sqldedup.ErrInvalid)
}
