package core_test

import (
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// soakMessages is how many messages the soak sends: POSTOFFICE_SOAK of them,
// a million say, or a short form.
func soakMessages(t *testing.T) int {
	t.Helper()
	text := os.Getenv("POSTOFFICE_SOAK")
	if text == "" {
		return 60_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestSoak sends many messages through memory, with a server that fails now
// and then, and sees that none is lost and that nothing piles up.
func TestSoak(t *testing.T) {
	var received, requests atomic.Int64
	server := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		status := http.StatusCreated
		if requests.Add(1)%50 == 0 {
			status = http.StatusTooManyRequests
		} else {
			received.Add(int64(strings.Count(string(body), `"text"`)))
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	store := memory.New()
	client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store})
	require.NoError(t, client.Start(t.Context()))

	const rounds, publishers = 10, 16
	each := soakMessages(t) / rounds / publishers
	payload := map[string]string{"text": strings.Repeat("x", 280)}
	var first, last uint64
	goroutines := 0
	for round := range rounds {
		var running sync.WaitGroup
		for range publishers {
			p := publisherIn(t, client, core.Memory)
			running.Go(func() {
				for range each {
					if _, err := p.Publish(t.Context(), "orders", payload); err != nil {
						assert.NoError(t, err)
						return
					}
				}
			})
		}
		running.Wait()
		require.NoError(t, client.Flush(t.Context()))
		last = heap()
		if round == 0 {
			first, goroutines = last, runtime.NumGoroutine()
		}
	}
	// What is left between the rounds is what 429 sent to the outbox, at most
	// the batches of one round in fifty.
	assert.Less(t, last, 2*first+8<<20, "the heap is flat")
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines+2, "and so are the goroutines")
	require.NoError(t, client.Stop(t.Context()))
	stats, err := store.Stats(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, rounds*publishers*each, received.Load()+int64(stats.Pending), "none is lost")
	isEmpty(t, client)
}
