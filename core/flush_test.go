package core_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestFlushDeliversWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 1200, core.Queued)
		start := time.Now()
		require.NoError(t, client.Flush(t.Context()))
		assert.Zero(t, time.Since(start), "without waiting for the delay")
		assert.Len(t, payloadsOf(server, "orders"), 1200)
		isEmpty(t, client)
		require.NoError(t, client.Flush(t.Context()))
	})
}

func TestFlushWaitsForRetriesAndHonoursItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		server.FailNext(3, 500)
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, client.Flush(ctx), context.DeadlineExceeded)
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, payloadsOf(server, "orders"), 1)
		isEmpty(t, client)
	})
}

func TestStopDeliversWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 700, core.Queued)
		start := time.Now()
		require.NoError(t, client.Stop(t.Context()))
		assert.Zero(t, time.Since(start))
		assert.Len(t, payloadsOf(server, "orders"), 700)
		isEmpty(t, client)
	})
}

func TestStopStoresInTimeWhatAHangingServerDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 3000, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		require.NoError(t, client.Stop(ctx))
		assert.LessOrEqual(t, time.Since(start), 3*time.Second)
		assert.Len(t, records(t, store), 3000)
		isEmpty(t, client)
	})
}

func TestStopTellsWhatIsLostWithoutAnOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Logger: quiet})
		require.NoError(t, err)
		queueN(t, publisherIn(t, client, core.Memory), 1200, core.Queued)
		time.Sleep(time.Minute) // some of it waits for its retry
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err = client.Stop(ctx)
		require.ErrorIs(t, err, core.ErrUndelivered)
		require.ErrorContains(t, err, "1201 messages")
		require.ErrorIs(t, client.Stop(t.Context()), core.ErrUndelivered, "a second call says it again")
	})
}

func TestStoppedClientQueuesNothing(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	p := publisherIn(t, client, core.Memory)
	require.NoError(t, client.Stop(t.Context()))
	_, err := p.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrClosed)
}

func TestPublishFlushAndStopAtTheSameTime(t *testing.T) {
	for _, mode := range []core.Mode{core.Memory, core.Durable} {
		t.Run(mode.String(), func(t *testing.T) {
			server := newServer(t, "orders")
			store := memory.New()
			client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, Timeout: time.Minute, BulkTimeout: time.Minute, Batching: core.Batching{MaxMessages: 300, Delay: time.Millisecond}})
			require.NoError(t, client.Start(t.Context()))
			var running sync.WaitGroup
			var accepted atomic.Int64
			for i := range 16 {
				p := publisherIn(t, client, mode)
				running.Go(func() {
					for n := 0; ; n++ {
						payload := map[string]string{"id": fmt.Sprintf("%d-%d", i, n)}
						if _, err := p.Publish(context.Background(), "orders", payload); err != nil {
							assert.ErrorIs(t, err, core.ErrClosed)
							return
						}
						accepted.Add(1)
					}
				})
			}
			for range 4 {
				running.Go(func() {
					for range 20 {
						assert.NoError(t, client.Flush(context.Background()))
					}
				})
			}
			require.NoError(t, server.WaitForMessages(t.Context(), "orders", 2000))
			for range 2 {
				running.Go(func() { assert.NoError(t, client.Stop(context.Background())) })
			}
			running.Wait()
			seen := map[string]bool{}
			for _, message := range server.MessagesOf("orders") {
				seen[string(message.Payload)] = true
			}
			for _, record := range records(t, store) {
				seen[string(record.Payload)] = true
			}
			assert.Len(t, seen, int(accepted.Load()), "every accepted message is delivered or stored")
			isEmpty(t, client)
		})
	}
}

func TestFlushTellsWhatStopHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Logger: quiet})
		require.NoError(t, err)
		queueN(t, publisherIn(t, client, core.Memory), 3, core.Queued)
		flushed := make(chan error, 1)
		go func() { flushed <- client.Flush(context.Background()) }()
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, client.Stop(ctx), core.ErrUndelivered)
		err = <-flushed
		require.ErrorIs(t, err, core.ErrUndelivered)
		assert.ErrorContains(t, err, "3 messages")
		assert.NoError(t, client.Flush(context.Background()), "later there is nothing left")
	})
}

func TestFlush(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	require.NoError(t, client.Flush(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, client.Flush(ctx), context.Canceled)
}
