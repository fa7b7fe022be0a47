package core_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
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

// insertsStore counts the calls to Insert.
type insertsStore struct {
	outbox.Store
	inserts atomic.Int32
}

func (s *insertsStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.inserts.Add(1)
	return s.Store.Insert(ctx, delay, records...)
}

// refusing is a server that takes nothing.
var refusing = roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })

func TestFullOutboxIsWaitedForUntilTheCallerGivesUp(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New(memory.WithMaxRecords(1))
				insert(t, store, "orders", 1)
				client := newTestClient(t, core.Config{
					URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store,
					Batching: core.Batching{MaxMessages: 1},
				})
				p := publisherIn(t, client, mode)
				if mode == core.Memory {
					queueN(t, p, 1, core.Queued)
				}
				for _, name := range []string{"deadline", "cancelled"} {
					ctx, cancel := context.WithCancel(t.Context())
					if name == "deadline" {
						ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
					} else {
						time.AfterFunc(time.Minute, cancel)
					}
					start := time.Now()
					_, err := p.Publish(ctx, "orders", struct{}{})
					cancel()
					require.ErrorIs(t, err, core.ErrNotAccepted)
					require.ErrorIs(t, err, core.ErrOutboxFull)
					require.ErrorIs(t, err, context.Cause(ctx))
					assert.Equal(t, time.Minute, time.Since(start))
				}
				_, err := store.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
			})
		})
	}
}

func TestFullOutboxIsWaitedForUntilThereIsRoom(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &insertsStore{Store: memory.New(memory.WithMaxRecords(10))}
				insert(t, store, "bills", 10)
				client := newTestClient(t, core.Config{
					URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store,
					Batching: core.Batching{MaxMessages: 1},
				})
				p := publisherIn(t, client, mode)
				if mode == core.Memory {
					queueN(t, p, 1, core.Queued)
				}
				const callers = 10
				accepted := make(chan error, callers)
				for range callers {
					go func() {
						receipt, err := p.Publish(t.Context(), "orders", struct{}{})
						if mode == core.Memory && receipt.State == core.Queued {
							receipt.State = core.Stored // it was, once it was too old
						}
						assert.Equal(t, core.Stored, receipt.State)
						accepted <- err
					}()
				}
				time.Sleep(time.Minute)
				assert.Empty(t, accepted)
				polls := int(time.Minute / fullPoll)
				if mode == core.Memory { // the message in memory is too old
					polls += int(time.Minute / commitPauseMax)
				}
				assert.LessOrEqual(t, int(store.inserts.Load()), 4*callers+polls, "only one of those who wait asks")
				before := store.inserts.Load()
				var newcomers sync.WaitGroup
				for range 100 * callers {
					newcomers.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), core.DefaultTimeout+fullPoll)
						defer cancel()
						_, err := p.Publish(ctx, "orders", struct{}{})
						assert.ErrorIs(t, err, core.ErrOutboxFull)
					})
				}
				newcomers.Wait()
				if mode != core.Durable { // which asks before it posts
					assert.LessOrEqual(t, int(store.inserts.Load()-before), callers, "newcomers do not ask")
				}
				_, err := store.Discard(t.Context(), outbox.Selection{Topic: "bills"})
				require.NoError(t, err)
				for range callers {
					require.NoError(t, <-accepted)
				}
				assert.Len(t, records(t, store), callers)
				// So that the message in memory has room when the client stops.
				_, err = store.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
				isServedAtOnce(t, p)
			})
		})
	}
}

// isServedAtOnce checks that a call does not wait for room in an outbox that
// has some: nobody is in its way.
func isServedAtOnce(t *testing.T, p *core.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), core.DefaultTimeout+time.Millisecond) // which a post may take
	defer cancel()
	_, err := p.Publish(ctx, "orders", struct{}{})
	assert.NoError(t, err)
}

// meetingStore has an Insert wait for another one.
type meetingStore struct {
	outbox.Store
	both *sync.WaitGroup
}

func (s meetingStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.both.Done()
	s.both.Wait()
	return s.Store.Insert(ctx, delay, records...)
}

func TestOutboxWithRoomIsNotQueuedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := meetingStore{memory.New(), new(sync.WaitGroup)}
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		store.both.Add(2)
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				assert.NoError(t, err)
			})
		}
		callers.Wait()
	})
}

func TestStopEndsTheWaitForAFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.WithMaxRecords(1))
		insert(t, store, "orders", 1)
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		failed := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				failed <- err
			}()
		}
		time.Sleep(time.Minute)
		require.NoError(t, client.Stop(t.Context()))
		for range 2 {
			err := <-failed
			require.ErrorIs(t, err, core.ErrOutboxFull)
			require.ErrorIs(t, err, core.ErrClosed)
		}
	})
}

func TestMemoryIsUsedWhileTheOutboxIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New(memory.WithMaxRecords(1))
		config.Outbox = store
		client := newTestClient(t, config)
		insert(t, store, "orders", 1)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusServiceUnavailable, true })
		for client.Stats().Breaker != core.BreakerOpen {
			// There is no room for what fails, and no time to wait for it.
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := client.Publish(ctx, "orders", struct{}{})
			cancel()
			require.ErrorIs(t, err, core.ErrOutboxFull)
		}
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 3, core.Queued)
		_, err := store.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		server.FailWhen(nil)
		require.NoError(t, client.Flush(t.Context()))
		assert.Equal(t, 3, len(payloadsOf(server, "orders"))+len(records(t, store)))
	})
}

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
func (tx *fakeTx) Commit() error   { return errors.New("committing is the caller's") }
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
		require.NoError(t, store.Insert(t.Context(), 1000*time.Hour, outbox.Record{ID: "later", Topic: "orders", Payload: []byte("{}")}))
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
	ctx, end := client.BeginRequest(t.Context(), nil, core.Options{
		AfterResponse: core.Memory,
		Attributes:    func(*http.Request) map[string]any { return map[string]any{"request": 7} },
	})
	defer end()
	tx := &fakeTx{}
	_, err := core.MustFromContext(ctx).PublishTx(ctx, tx, "orders", struct{}{})
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
