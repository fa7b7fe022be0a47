package core_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// txStore is an outbox whose transactions keep what was inserted until they
// commit.
type txStore struct {
	outbox.Store
	err, holderErr error
}

type fakeTx struct{ records []outbox.Record }

func (tx *fakeTx) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.New("not used")
}

func (tx *fakeTx) Commit() error { return errors.New("committing is the caller's") }

func (tx *fakeTx) Rollback() error { return errors.New("rolling back is the caller's") }

func (s *txStore) InsertTx(_ context.Context, tx outbox.Tx, records ...outbox.Record) error {
	if s.err != nil {
		return s.err
	}
	tx.(*fakeTx).records = append(tx.(*fakeTx).records, records...)
	return nil
}

func (s *txStore) HolderTx(_ context.Context, tx outbox.Tx, dedupKey string) (string, bool, error) {
	if s.holderErr != nil {
		return "", false, s.holderErr
	}
	for _, record := range tx.(*fakeTx).records {
		if record.DedupKey == dedupKey {
			return record.ID, true, nil
		}
	}
	return "", false, nil
}

func TestPublishTxIsFoundSoonAfterTheCommit(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &txStore{Store: memory.New()}
		require.NoError(t, store.Insert(t.Context(), 1000*time.Hour, outbox.Record{ID: "later", Topic: "orders", Payload: []byte("{}"), Attributes: []byte("{}")}))
		config.Outbox = store
		client := startTestClient(t, config)
		for _, takes := range []time.Duration{0, 3 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute} {
			time.Sleep(time.Hour)
			tx := &fakeTx{}
			receipt, err := client.PublishTx(t.Context(), tx, "orders", map[string]int{"n": 1}, core.WithMessageID())
			require.NoError(t, err)
			assert.Equal(t, core.Stored, receipt.State)
			require.Len(t, tx.records, 1)
			assert.Equal(t, receipt.IDs[0], tx.records[0].ID)
			time.Sleep(takes)
			before := len(server.MessagesOf("orders"))
			require.NoError(t, store.Insert(t.Context(), 0, tx.records...))
			time.Sleep(min(takes, relayPoll) + 2*time.Millisecond)
			synctest.Wait()
			assert.Len(t, server.MessagesOf("orders"), before+1, takes)
		}
	})
}

// Messages that the relay posts in the time until the commit do not make it look
// less often.
func TestPublishTxIsFoundSoonBesideOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &txStore{Store: memory.New()}
		config.Outbox = store
		client := startTestClient(t, config)
		tx := &fakeTx{}
		_, err := client.PublishTx(t.Context(), tx, "orders", struct{}{})
		require.NoError(t, err)
		const others = 50
		for i := range others {
			time.Sleep(time.Millisecond)
			_, err := client.Publish(t.Context(), "bills", struct{}{}, core.WithDedupKey(strconv.Itoa(i)))
			require.NoError(t, err)
		}
		require.NoError(t, store.Insert(t.Context(), 0, tx.records...))
		time.Sleep((others + 2) * time.Millisecond)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 1)
	})
}

func TestPublishTxLooksLessAndLessOften(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		counting := &countingStore{Store: memory.New()}
		config.Outbox = &txStore{Store: counting}
		client := startTestClient(t, config)
		time.Sleep(time.Hour)
		before := counting.claims.Load()
		_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{})
		require.NoError(t, err)
		time.Sleep(relayPoll)
		assert.InDelta(t, 12, counting.claims.Load()-before, 2)
		time.Sleep(relayPoll)
		before = counting.claims.Load()
		time.Sleep(10 * relayPoll)
		assert.InDelta(t, 10, counting.claims.Load()-before, 1, "as seldom as ever")
	})
}

func TestPublishTxOfARequest(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: &txStore{Store: memory.New()}})
	ctx := t.Context()
	p, end := begin(t, client, core.Options{
		AfterResponse: core.Memory,
		Attributes:    func(*http.Request) map[string]any { return map[string]any{"request": 7} },
	})
	defer end(200)
	tx := &fakeTx{}
	_, err := p.PublishTx(ctx, tx, "orders", struct{}{})
	require.NoError(t, err)
	require.Len(t, tx.records, 1)
	assert.JSONEq(t, `{"request":"7"}`, string(tx.records[0].Attributes))
	_, err = (*core.Publisher)(nil).PublishTx(ctx, tx, "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrNoPublisher)
}

func TestPublishTxErrors(t *testing.T) {
	store := &txStore{Store: memory.New()}
	client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
	for _, test := range []struct {
		tx      outbox.Tx
		topic   string
		payload any
		want    string
	}{
		{nil, "orders", struct{}{}, "tx is nil"},
		{(*sql.Tx)(nil), "orders", struct{}{}, "tx is nil"},
		{&fakeTx{}, "", struct{}{}, "topic "},
		{&fakeTx{}, "orders", 7, "payload "},
	} {
		_, err := client.PublishTx(t.Context(), test.tx, test.topic, test.payload)
		require.ErrorIs(t, err, core.ErrInvalidMessage)
		assert.ErrorContains(t, err, test.want)
	}
	for _, want := range []error{outbox.ErrFull, errBrokenStore} {
		store.err = want
		_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, want)
	}
	require.NoError(t, client.Stop(t.Context()))
	_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrClosed)

	for _, store := range []outbox.Store{nil, memory.New()} {
		client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
		_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNoTransactions)
	}
}
