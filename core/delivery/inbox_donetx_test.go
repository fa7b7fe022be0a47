package delivery_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// onInboxDatabases runs a test with a store in each kind of database, in which there is a
// table of effects.
func onInboxDatabases(t *testing.T, test func(t *testing.T, db *sql.DB, store *sqlstore.Store)) {
	t.Helper()
	for name, kind := range map[string]struct {
		dialect sqlstore.Dialect
		open    func(t *testing.T) (*sql.DB, error)
	}{
		"postgres": {sqlstore.Postgres, func(t *testing.T) (*sql.DB, error) { return sql.Open("pgx", testdb.Postgres(t).Create(t)) }},
		"mariadb":  {sqlstore.MySQL, func(t *testing.T) (*sql.DB, error) { return testdb.Open(testdb.MariaDB(t).Create(t)) }},
		"sqlite": {sqlstore.SQLite, func(t *testing.T) (*sql.DB, error) {
			return sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := kind.open(t)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			require.NoError(t, sqlstore.Migrate(t.Context(), db, kind.dialect, sqlstore.WithTable("inbox")))
			store, err := sqlstore.New(db, kind.dialect, sqlstore.WithTable("inbox"))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			_, err = db.ExecContext(t.Context(), "CREATE TABLE effects (id INTEGER)")
			require.NoError(t, err)
			test(t, db, store)
		})
	}
}

// inboxEffects returns how many effects there are.
func inboxEffects(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM effects").Scan(&n))
	return n
}

// inTx has an effect and the removal of the message in a transaction. It commits
// unless the function returns an error.
func inTx(ctx context.Context, db *sql.DB, then func() error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	if _, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (1)"); err != nil {
		return err
	}
	if err := delivery.DoneTx(ctx, tx); err != nil {
		return err
	}
	if err := then(); err != nil {
		return err
	}
	return tx.Commit()
}

func TestInboxDoneTx(t *testing.T) {
	onInboxDatabases(t, func(t *testing.T, db *sql.DB, store *sqlstore.Store) {
		var seen calls
		inbox := startedInbox(t, store, delivery.InboxOptions{
			MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
			Observer: delivery.Observer{Handled: func(e delivery.Event) { seen.add("%d %v", e.Attempts, e.Err) }},
		})
		attempts := 0
		handler := queued(inbox, "orders", func(ctx context.Context, m delivery.Message[order]) error {
			attempts++
			switch {
			case attempts == 1: // the transaction fails, and the message comes again
				return inTx(ctx, db, func() error { return errors.New("no stock") })
			case m.Payload.ID == 2: // the answer to the commit is lost
				if err := inTx(ctx, db, func() error { return nil }); err != nil {
					return err
				}
				return errors.New("connection lost")
			}
			return inTx(ctx, db, func() error { return nil })
		})
		require.Equal(t, http.StatusNoContent, give(t, handler, 1))
		require.Eventually(t, func() bool { return inboxEffects(t, db) == 1 }, patience, time.Millisecond)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"1 no stock", "2 <nil>"}, seen.take())

		require.Equal(t, http.StatusNoContent, give(t, handler, 2))
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"1 connection lost"}, seen.take())
		for number := range 2 {
			require.Equal(t, http.StatusNoContent, give(t, handler, number+1), "a late copy")
		}
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Empty(t, seen.take())
		assert.Equal(t, 2, inboxEffects(t, db))
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))
	})
}

// A function whose message another process has finished in between has no effect, and
// that is no failure of the message.
func TestInboxDoneTxAfterAnother(t *testing.T) {
	onInboxDatabases(t, func(t *testing.T, db *sql.DB, store *sqlstore.Store) {
		var reported problems
		inbox := startedInbox(t, store, delivery.InboxOptions{})
		result := make(chan error, 1)
		handler := queued(inbox, "orders", func(ctx context.Context, _ delivery.Message[order]) error {
			list, err := store.List(ctx, outbox.Query{})
			if err == nil {
				_, err = store.Finish(ctx, time.Hour, list[0].ID) // as another process does after the lease
			}
			if err != nil {
				return err
			}
			err = inTx(ctx, db, func() error { return nil })
			result <- err
			return err
		}, delivery.WithOnError(reported.add))
		require.Equal(t, http.StatusNoContent, give(t, handler, 1))
		require.ErrorIs(t, <-result, delivery.ErrLeaseLost)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Zero(t, inboxEffects(t, db))
		assert.Empty(t, reported.take())
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))
	})
}

// A transaction of pgx works as well.
func TestInboxDonePgxTx(t *testing.T) {
	dsn := testdb.Postgres(t).Create(t)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.Postgres))
	store, err := sqlstore.New(db, sqlstore.Postgres)
	require.NoError(t, err)
	inbox := startedInbox(t, store, delivery.InboxOptions{})
	result := make(chan error, 1)
	require.Equal(t, http.StatusNoContent, give(t, queued(inbox, "orders", func(ctx context.Context, _ delivery.Message[order]) error {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return delivery.DoneTx(ctx, sqlstore.PgxTx(tx)) })
		result <- err
		return err
	}), 1))
	require.NoError(t, <-result)
	require.NoError(t, inbox.Flush(t.Context()))
	assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))
}
