package core_test

import (
	"context"
	"net/http"
	"strings"
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

func TestFullMemorySpillsToTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		var seen events
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, Observer: seen.observer(),
			Batching: core.Batching{MaxMessages: 50, MaxBytes: 100_000},
		})
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 50, core.Queued)
		queueN(t, p, 10, core.Stored)
		assert.Len(t, records(t, store), 10)
		assert.Len(t, seen.of("stored"), 10)
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()
		queueN(t, p, 50, core.Queued)
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()

		_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 200_000)})
		require.NoError(t, err, "one that is larger than all the room is taken when there is no other")
		receipt, err := p.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State, "bytes are bounded, too")
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()
		isEmpty(t, client)
	})
}

func TestFullMemoryWithoutOutboxWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Batching: core.Batching{MaxMessages: 10},
		})
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 10, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := p.Publish(ctx, "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))

		var waiting sync.WaitGroup
		waiting.Go(func() { queueN(t, p, 1, core.Queued) })
		synctest.Wait()
		server.answers <- http.StatusCreated
		waiting.Wait()

		queueN(t, p, 9, core.Queued)
		var refused error
		waiting.Go(func() { _, refused = p.Publish(t.Context(), "orders", struct{}{}) })
		synctest.Wait()
		var stopped error
		waiting.Go(func() { stopped = client.Stop(context.WithoutCancel(t.Context())) })
		synctest.Wait()
		require.ErrorIs(t, refused, core.ErrClosed)
		server.answers <- http.StatusCreated
		waiting.Wait()
		require.NoError(t, stopped)
	})
}

func TestOpenBreakerSpillsToTheOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := startTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		p := publisherIn(t, client, core.Memory)
		for client.Stats().Breaker != core.BreakerOpen {
			queueN(t, p, 1, core.Queued)
			require.NoError(t, client.Flush(t.Context()))
		}
		queueN(t, p, 10, core.Stored)
		server.FailWhen(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, records(t, store))
		isEmpty(t, client)
	})
}

func TestMemoryStoresWhatTheServerDoesNotTake(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		state  outbox.State
	}{
		"for now": {500, outbox.Pending}, "for good": {400, outbox.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := memory.New()
				config.Outbox = store
				client := newTestClient(t, config)
				server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
					return test.status, strings.Contains(string(body), `"n":3}`)
				})
				queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
				require.NoError(t, client.Flush(t.Context()))
				assert.Len(t, payloadsOf(server, "orders"), 9)
				list := records(t, store)
				require.Len(t, list, 1)
				assert.Equal(t, test.state, list[0].State)
				assert.JSONEq(t, `{"n":3}`, string(list[0].Payload))
				isEmpty(t, client)
			})
		})
	}
}

func TestMemoryWithoutOutboxTriesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		var down atomic.Bool
		down.Store(true)
		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
			if strings.Contains(string(body), `"n":3}`) {
				return 400, true
			}
			return 503, down.Load()
		})
		queueN(t, publisherIn(t, client, core.Memory), 1000, core.Queued)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, server.MessagesOf("orders"))
		down.Store(false)
		time.Sleep(memoryRetryMax + time.Second)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 999, "the one that the server refuses for good is gone")
		lost := 0
		for _, event := range seen.of("dead") {
			lost += event.Messages
			assert.ErrorContains(t, event.Err, "400")
		}
		assert.Equal(t, 1, lost, "and that is told")
		isEmpty(t, client)
	})
}

func TestMemoryHonoursRetryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		server.AnswerNext(1, postofficetest.Answer{Status: 429, RetryAfter: 10 * time.Minute})
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Len(t, server.Requests(), 1)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1)
	})
}

// closedStore is an outbox that can be shut and opened.
type closedStore struct {
	outbox.Store
	shut atomic.Bool
}

func (s *closedStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if s.shut.Load() {
		return errBrokenStore
	}
	return s.Store.Insert(ctx, delay, records...)
}

func TestMemoryKeepsWhatNeitherServerNorOutboxTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		store.shut.Store(true)
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 500, true })
		queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
		time.Sleep(time.Hour)
		assert.Empty(t, records(t, store))
		store.shut.Store(false)
		require.NoError(t, client.Flush(t.Context()))
		synctest.Wait()
		assert.Len(t, records(t, store), 10)
		isEmpty(t, client)
	})
}

func TestRefusedMessageWaitsForItsOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		store.shut.Store(true)
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 400, true })
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		time.Sleep(time.Minute)
		store.shut.Store(false)
		require.NoError(t, client.Flush(t.Context()))
		synctest.Wait()
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Dead, list[0].State)
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
			// There is no capacity for what fails, and no time to wait for it.
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
