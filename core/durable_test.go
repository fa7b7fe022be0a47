package core_test

import (
	"context"
	"net/http"
	"strings"
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

func TestDurableStoresThenDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &countingStore{Store: memory.New()}
		config.Outbox = store
		client := startTestClient(t, config)
		synctest.Wait()
		p := publisherIn(t, client, core.Durable)
		var ids []string
		for i := range 30 {
			receipt, err := p.Publish(t.Context(), "orders", map[string]int{"n": i})
			require.NoError(t, err)
			require.Equal(t, core.Stored, receipt.State)
			require.Len(t, receipt.IDs, 1)
			ids = append(ids, receipt.IDs...)
		}
		list := records(t, store)
		require.Len(t, list, 30)
		for i, record := range list {
			assert.Equal(t, ids[i], record.ID)
			assert.NotEmpty(t, record.LeaseToken, "held, so that the relay leaves it alone")
		}
		claims := store.claims.Load()
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 30)
		assert.Empty(t, records(t, store))
		assert.Len(t, server.Requests(), 1)
		assert.Equal(t, claims, store.claims.Load(), "without a claim")
		time.Sleep(time.Hour)
		assert.Len(t, payloadsOf(server, "orders"), 30, "and never again")
		isEmpty(t, client)
	})
}

func TestDurableLeavesToTheRelayWhatIsNotDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		var seen events
		config.Outbox, config.Observer = store, seen.observer()
		client := startTestClient(t, config)
		server.FailNext(1, 429)
		p := publisherIn(t, client, core.Durable)
		queueN(t, p, 3, core.Stored)
		time.Sleep(5 * time.Second) // not for as long as the rows were held
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 3)
		assert.Empty(t, records(t, store))

		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, strings.Contains(string(body), `"n":1}`) })
		queueN(t, p, 3, core.Stored)
		time.Sleep(5 * time.Second)
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Dead, list[0].State)
		require.Len(t, seen.of("dead"), 1)
		assert.False(t, seen.of("dead")[0].FromOutbox, "it was posted from memory")
		assert.True(t, seen.of("delivered")[0].FromOutbox, "the relay had it")
		isEmpty(t, client)
	})
}

func TestDurableIsHeldWhileItIsPosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		client := startTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, BulkTimeout: time.Minute, Timeout: time.Minute,
			Batching: core.Batching{InFlight: 1, MaxMessages: 2},
		})
		p := publisherIn(t, client, core.Durable)
		queueN(t, p, 1, core.Stored)
		time.Sleep(30 * time.Second) // many rounds of the relay
		queueN(t, p, 1, core.Stored) // waits for the only worker
		start := time.Now()
		require.NoError(t, client.Flush(t.Context()))
		assert.Zero(t, time.Since(start), "what is stored is no matter of Flush")
		for range 2 {
			server.answers <- http.StatusCreated
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.Empty(t, records(t, store), "each was posted once, from memory")

		queueN(t, p, 1, core.Stored)
		time.Sleep(time.Second)
		queueN(t, p, 2, core.Stored)
		held := 0
		for _, record := range records(t, store) {
			if record.LeaseToken != "" {
				held++
			}
		}
		assert.Equal(t, 2, held, "the third has no capacity in memory")
		time.Sleep(backoffBase + time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 2, server.waiting.Load(), "the worker's, and the relay's, which was told of the third")
		for range 3 {
			server.answers <- http.StatusCreated
		}
		synctest.Wait()
		assert.Empty(t, records(t, store))
	})
}

func TestHeldRowsAreNotPostedWhenTheirLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		client := newTestClient(t, core.Config{ // not started: there is no relay
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, Timeout: time.Hour,
			Batching: core.Batching{InFlight: 1},
		})
		p := publisherIn(t, client, core.Durable)
		for range 3 { // batches, posted one after the other
			queueN(t, p, 1, core.Stored)
			time.Sleep(time.Second)
		}
		for range 2 {
			time.Sleep(50 * time.Minute)
			server.answers <- http.StatusCreated
		}
		synctest.Wait()
		select {
		case server.answers <- http.StatusCreated:
			assert.Fail(t, "another process may have posted it by now")
		default:
		}
		assert.Len(t, records(t, store), 1)
		isEmpty(t, client)
	})
}

func TestDurableHoldsNothingWhileTheBreakerIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 500, true })
		for range breakerConsecutive {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		}
		queueN(t, publisherIn(t, client, core.Durable), 3, core.Stored)
		for _, record := range records(t, store) {
			assert.Empty(t, record.LeaseToken)
		}
		isEmpty(t, client)
	})
}

func TestDurableThroughAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox, config.Batching.MaxMessages = store, 20
		client := startTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		p := publisherIn(t, client, core.Durable)
		for range 60 {
			queueN(t, p, 30, core.Stored) // more than memory takes
			time.Sleep(time.Second)
		}
		assert.Len(t, records(t, store), 1800)
		server.FailWhen(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1800, "each once")
		assert.Empty(t, records(t, store))
		isEmpty(t, client)
	})
}

func TestDurableSurvivesTheProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		dying := core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store, BulkTimeout: time.Hour}
		client := newTestClient(t, dying)
		queueN(t, publisherIn(t, client, core.Durable), 5, core.Stored)
		// What a crash leaves behind is the outbox as it is now.
		left := memory.New()
		for _, record := range records(t, store) {
			require.NoError(t, left.Insert(t.Context(), time.Until(record.DueAt), record))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, client.Stop(ctx))

		config.Outbox = left
		startTestClient(t, config)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 5)
	})
}

func TestDurableWithoutItsOutboxIsSentAtOnce(t *testing.T) {
	server := newServer(t, "orders")
	t.Run("none configured", func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: server.URL()})
		queueN(t, publisherIn(t, client, core.Durable), 1, core.Delivered)
	})
	t.Run("not writable", func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: server.URL(), Outbox: brokenStore{memory.New()}})
		queueN(t, publisherIn(t, client, core.Durable), 1, core.Delivered)
		isEmpty(t, client)
		server.FailNext(1, 500)
		_, err := publisherIn(t, client, core.Durable).Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, errBrokenStore)
	})
}
