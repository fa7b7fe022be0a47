package core_test

import (
	"fmt"
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
)

// However many topics have due rows, the relay has only so many of them in hand.
func TestRelayHoldsFewOfManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusCreated, after: 20 * time.Millisecond}
		}}
		const bulkLimit = 100
		store := memory.New()
		for i := range 3000 {
			insertSingles(t, store, fmt.Sprintf("topic-%04d", i), 1)
		}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, BulkLimit: bulkLimit})
		require.NoError(t, client.Start(t.Context()))
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			stats, err := store.Stats(t.Context())
			require.NoError(t, err)
			assert.LessOrEqual(t, stats.Held, slots*bulkLimit)
		}
		time.Sleep(10 * time.Second)
		require.Zero(t, stillStored(t, store))
	})
}

// With more topics than slots, each has its turn.
func TestRelayComesToEveryTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen arrivals
		server := &bubbleServer{judge: func(p post) verdict {
			seen.add(p.topic, 1)
			return verdict{status: http.StatusCreated, after: 10 * time.Millisecond}
		}}
		const topics = 3 * slots
		store := memory.New()
		for i := range topics {
			insertSingles(t, store, fmt.Sprintf("topic-%02d", i), 100)
		}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, BulkLimit: 1})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(500 * time.Millisecond)
		for i := range topics {
			assert.InDelta(t, 50*slots/topics, len(seen.of(fmt.Sprintf("topic-%02d", i))), 5)
		}
	})
}

// Rows that wait for a slot have bounded bytes, however many topics they are of.
func TestRelayHoldsFewBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusCreated, after: 400 * time.Millisecond}
		}}
		const topics, rows, size = 25, 10, 400_000
		store := memory.New()
		payload := fmt.Appendf(nil, `{"text":"%s"}`, strings.Repeat("x", size))
		for i := range topics {
			list := make([]outbox.Record, rows)
			for j := range list {
				list[j] = outbox.Record{
					ID: fmt.Sprintf("%d-%d", i, j), Topic: fmt.Sprintf("topic-%02d", i),
					Payload: payload, Attributes: fmt.Appendf(nil, `{"n":"%d"}`, j),
				}
			}
			require.NoError(t, store.Insert(t.Context(), 0, list...))
		}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, Timeout: time.Second})
		require.NoError(t, client.Start(t.Context()))
		most := 0
		for range 8 {
			time.Sleep(250 * time.Millisecond)
			stats, err := store.Stats(t.Context())
			require.NoError(t, err)
			most = max(most, stats.Held*size)
		}
		assert.LessOrEqual(t, most, 50_000_000)
	})
}
