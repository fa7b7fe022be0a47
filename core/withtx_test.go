package core_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// shop is a database with an outbox. Its pool has one connection, so a call that
// needed a second one would wait for ever.
type shop struct {
	db     *sql.DB
	store  *sqlstore.Store
	client *core.Client // is not started, so that messages stay in the outbox
}

func newShop(t *testing.T) shop {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "shop.db"))+"?_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	store, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	return shop{db, store, newTestClient(t, core.Config{URL: testServer, Outbox: store, HTTPClient: &http.Client{Transport: refusing}})}
}

func (s shop) begin(t *testing.T) *sql.Tx {
	t.Helper()
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() }) // fails where it has ended
	return tx
}

// payloads returns the payloads in the outbox.
func (s shop) payloads(t *testing.T) []string {
	t.Helper()
	var payloads []string
	for _, record := range records(t, s.store) {
		payloads = append(payloads, string(record.Payload))
	}
	return payloads
}

// number is a payload.
func number(n int) map[string]int { return map[string]int{"n": n} }

func TestWithTx(t *testing.T) {
	s := newShop(t)
	publisher := func(mode core.Mode) *core.Publisher { return publisherIn(t, s.client, mode) }
	for name, publish := range map[string]func(context.Context) (core.Receipt, error){
		"Client.Publish": func(ctx context.Context) (core.Receipt, error) {
			return s.client.Publish(ctx, "orders", number(1))
		},
		"Client.PublishBulk": func(ctx context.Context) (core.Receipt, error) {
			return s.client.PublishBulk(ctx, "orders", []any{number(1)})
		},
		"Publisher.Publish, Off": func(ctx context.Context) (core.Receipt, error) {
			return publisher(core.Off).Publish(ctx, "orders", number(1))
		},
		"Publisher.Publish, Durable": func(ctx context.Context) (core.Receipt, error) {
			return publisher(core.Durable).Publish(ctx, "orders", number(1))
		},
		"Publisher.Publish, Memory": func(ctx context.Context) (core.Receipt, error) {
			return publisher(core.Memory).Publish(ctx, "orders", number(1))
		},
		"Publisher.PublishBulk, Memory": func(ctx context.Context) (core.Receipt, error) {
			return publisher(core.Memory).PublishBulk(ctx, "orders", []any{number(1)})
		},
		"derived context": func(ctx context.Context) (core.Receipt, error) {
			ctx, cancel := context.WithCancel(context.WithoutCancel(core.NewContext(ctx, publisher(core.Off))))
			defer cancel()
			return core.MustFromContext(ctx).Publish(ctx, "orders", number(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tx := s.begin(t)
			receipt, err := publish(s.client.WithTx(t.Context(), tx))
			require.NoError(t, err)
			assert.Equal(t, core.Stored, receipt.State)
			require.Len(t, receipt.IDs, 1)
			require.NoError(t, tx.Rollback())
			assert.Empty(t, s.payloads(t))

			tx = s.begin(t)
			receipt, err = publish(s.client.WithTx(t.Context(), tx))
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			stored := records(t, s.store)
			require.Len(t, stored, 1)
			assert.Equal(t, []string{stored[0].ID}, receipt.IDs)
			assert.JSONEq(t, `{"n":1}`, string(stored[0].Payload))

			_, err = s.client.Outbox().Discard(t.Context(), outbox.Selection{All: true})
			require.NoError(t, err)
			_, err = publish(s.client.WithTx(t.Context(), tx))
			require.ErrorIs(t, err, core.ErrNotAccepted)
			require.ErrorIs(t, err, sql.ErrTxDone)
			assert.Empty(t, s.payloads(t), "a transaction that has ended is no reason to publish without one")
			isEmpty(t, s.client)
		})
	}
}

func TestWithTxBulk(t *testing.T) {
	s := newShop(t)
	tx := s.begin(t)
	ctx := s.client.WithTx(t.Context(), tx)
	receipt, err := s.client.PublishBulk(ctx, "orders", numbered(300), core.WithMessageID())
	require.NoError(t, err)
	assert.Len(t, receipt.IDs, 300)
	_, err = s.client.PublishBulk(ctx, "orders", append(numbered(3), "no object"))
	require.ErrorIs(t, err, core.ErrInvalidMessage)
	receipt, err = s.client.PublishBulk(ctx, "orders", nil)
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	require.NoError(t, tx.Commit())
	assert.Len(t, s.payloads(t), 300)
}

func TestWithTxAndADedupKey(t *testing.T) {
	s := newShop(t)
	publish := func(tx *sql.Tx) string {
		receipt, err := s.client.Publish(s.client.WithTx(t.Context(), tx), "orders", struct{}{}, core.WithDedupKey("4711 paid"))
		require.NoError(t, err)
		require.Len(t, receipt.IDs, 1)
		return receipt.IDs[0]
	}
	tx := s.begin(t)
	undone := publish(tx)
	require.NoError(t, tx.Rollback())
	tx = s.begin(t)
	first := publish(tx)
	assert.NotEqual(t, undone, first)
	assert.Equal(t, first, publish(tx), "the transaction sees its own")
	require.NoError(t, tx.Commit())
	assert.Len(t, s.payloads(t), 1)
}

// savepoint is what an app makes of a nested transaction.
type savepoint struct {
	*sql.Tx
	ctx context.Context
}

func (s savepoint) Commit() error {
	_, err := s.ExecContext(s.ctx, "RELEASE nested")
	return err
}

func (s savepoint) Rollback() error {
	_, err := s.ExecContext(s.ctx, "ROLLBACK TO nested")
	return err
}

func TestWithTxAndSavepoints(t *testing.T) {
	s := newShop(t)
	for _, kept := range []bool{false, true} {
		tx := s.begin(t)
		outer := s.client.WithTx(t.Context(), tx)
		_, err := s.client.Publish(outer, "orders", number(1))
		require.NoError(t, err)
		_, err = tx.ExecContext(outer, "SAVEPOINT nested")
		require.NoError(t, err)
		nested := savepoint{tx, outer}
		_, err = s.client.Publish(s.client.WithTx(outer, nested), "orders", number(2))
		require.NoError(t, err)
		want := []string{`{"n":1}`, `{"n":3}`}
		if kept {
			require.NoError(t, nested.Commit())
			want = []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}
		} else {
			require.NoError(t, nested.Rollback())
		}
		_, err = s.client.Publish(outer, "orders", number(3))
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		assert.Equal(t, want, s.payloads(t))
		_, err = s.client.Outbox().Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
	}
}

func TestWithTxWhichTransactionWins(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: &txStore{Store: memory.New()}})
	var outer, inner, own fakeTx
	ctx := client.WithTx(t.Context(), &outer)
	nested := client.WithTx(ctx, &inner)
	for _, call := range []struct {
		ctx context.Context
		n   int
	}{{ctx, 1}, {nested, 2}, {ctx, 3}} {
		_, err := client.Publish(call.ctx, "orders", number(call.n))
		require.NoError(t, err)
	}
	_, err := client.PublishTx(nested, &own, "orders", number(4))
	require.NoError(t, err)
	assert.Len(t, outer.records, 2)
	require.Len(t, inner.records, 1)
	assert.JSONEq(t, `{"n":2}`, string(inner.records[0].Payload))
	require.Len(t, own.records, 1)
	assert.JSONEq(t, `{"n":4}`, string(own.records[0].Payload))
}

func TestWithTxIsOfOneClient(t *testing.T) {
	var first, second fakeTx
	store := memory.New()
	newClient := func(store outbox.Store) *core.Client {
		return newTestClient(t, core.Config{URL: testServer, Outbox: store, HTTPClient: &http.Client{Transport: refusing}})
	}
	one, two := newClient(&txStore{Store: memory.New()}), newClient(&txStore{Store: store})
	ctx := one.WithTx(t.Context(), &first)
	_ = two.WithTx(t.Context(), &second) // so that it looks for a transaction
	_, err := two.Publish(ctx, "orders", struct{}{})
	require.NoError(t, err)
	assert.Empty(t, first.records)
	assert.Len(t, records(t, store), 1)

	both := two.WithTx(ctx, &second)
	for _, client := range []*core.Client{one, two} {
		_, err := client.Publish(both, "orders", struct{}{})
		require.NoError(t, err)
	}
	assert.Len(t, first.records, 1)
	assert.Len(t, second.records, 1)
}

func TestWithTxErrors(t *testing.T) {
	publishAll := func(ctx context.Context, client *core.Client) (errs []error) {
		_, err := client.Publish(ctx, "orders", struct{}{})
		errs = append(errs, err)
		_, err = client.PublishBulk(ctx, "orders", []any{struct{}{}})
		errs = append(errs, err)
		_, err = publisherIn(t, client, core.Memory).Publish(ctx, "orders", struct{}{})
		return append(errs, err)
	}
	posted := errors.New("posted")
	config := core.Config{URL: testServer, HTTPClient: &http.Client{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, posted })}}
	for _, store := range []outbox.Store{nil, memory.New()} {
		config.Outbox = store
		client := newTestClient(t, config)
		for _, err := range publishAll(client.WithTx(t.Context(), &fakeTx{}), client) {
			require.ErrorIs(t, err, core.ErrNoTransactions)
			require.NotErrorIs(t, err, posted)
		}
		isEmpty(t, client)
	}
	config.Outbox = &txStore{Store: memory.New()}
	client := newTestClient(t, config)
	for _, tx := range []outbox.Tx{nil, (*sql.Tx)(nil), (*fakeTx)(nil)} {
		for _, err := range publishAll(client.WithTx(t.Context(), tx), client) {
			isField(t, err, core.ErrInvalidMessage, "tx")
		}
	}
	require.NoError(t, client.Stop(t.Context()))
	_, err := client.Publish(client.WithTx(t.Context(), &fakeTx{}), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrClosed)
}

func TestWithTxOfNil(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: &txStore{Store: memory.New()}})
	var none context.Context
	for _, ctx := range []context.Context{none, (*pointerContext)(nil)} {
		var tx fakeTx
		_, err := client.Publish(client.WithTx(ctx, &tx), "orders", struct{}{})
		require.NoError(t, err)
		assert.Len(t, tx.records, 1)
	}
	var absent *core.Client
	for _, ctx := range []context.Context{none, t.Context()} {
		_, err := absent.Publish(absent.WithTx(ctx, &fakeTx{}), "orders", struct{}{})
		isField(t, err, core.ErrInvalidConfig, "client")
	}
}

// FlushOn decides on the messages of a request, not on the ones of a transaction,
// which has its own end.
func TestFlushOnDoesNotDecideOnATransaction(t *testing.T) {
	s := newShop(t)
	var seen events
	client := newTestClient(t, core.Config{URL: testServer, Outbox: s.store, Observer: seen.observer(), HTTPClient: &http.Client{Transport: refusing}})
	asked := 0
	options := core.Options{AfterResponse: core.Memory, FlushOn: func(core.Outcome) bool { asked++; return false }}
	for _, commits := range []bool{true, false} {
		p, end := begin(t, client, options)
		tx := s.begin(t)
		ctx := client.WithTx(t.Context(), tx)
		receipt, err := p.Publish(ctx, "orders", number(1))
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		_, err = p.PublishBulk(ctx, "orders", []any{number(2)})
		require.NoError(t, err)
		_, err = p.PublishTx(t.Context(), tx, "orders", number(3))
		require.NoError(t, err)
		if commits {
			require.NoError(t, tx.Commit())
		}
		end(200)
		if !commits {
			require.NoError(t, tx.Rollback())
		}
		assert.Equal(t, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, s.payloads(t))
	}
	assert.Empty(t, seen.of("discarded"))
	assert.Zero(t, asked, "there is nothing to decide")
}
