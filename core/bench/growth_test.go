package bench

import (
	"fmt"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// growthBound is how many messages are held in memory, so that the heap does
// not depend on how far the callers are ahead of the server.
const growthBound = 10_000

// BenchmarkGrowth publishes more and more messages in a row.
func BenchmarkGrowth(b *testing.B) {
	server := startHelper(b)
	for _, size := range []int{1_000, 10_000, 100_000, 1_000_000} {
		if size > 100_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("messages=%d", size), func(b *testing.B) {
			client := newClient(b, server, core.Config{Batching: core.Batching{MaxMessages: growthBound}})
			row(b, server, client, 100) // connections are there afterwards
			var heap float64
			for b.Loop() {
				heap = max(heap, row(b, server, client, size))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/msg")
			b.ReportMetric(heap, "heap-B")
			stop(b, client)
		})
	}
}

func TestGrowth(t *testing.T) {
	server := startHelper(t)
	client := newClient(t, server, core.Config{})
	require.Positive(t, row(t, server, client, 1001))
	stop(t, client)
}

// row publishes messages from 16 goroutines, flushes, and returns the most
// heap it saw in use.
func row(tb testing.TB, server *helper, client *core.Client, messages int) float64 {
	before := server.received(tb)
	peak := watchHeap()
	spread(messages, 16, func(worker, first, count int) {
		c := newCaller(tb, client, core.Memory, usual, worker)
		for i := range count {
			_, err := c.publish(first + i)
			assert.NoError(tb, err)
		}
	})
	require.NoError(tb, client.Flush(tb.Context()))
	heap := peak()
	require.Equal(tb, messages, server.received(tb)-before, "messages the server has got")
	return heap
}

// watchHeap looks at the heap in use, runtime.MemStats' HeapInuse, without
// stopping the world, until the function it returns is called, which tells
// the most it has seen.
func watchHeap() func() float64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	peak := uint64(0)
	look := func() {
		metrics.Read(samples)
		peak = max(peak, samples[0].Value.Uint64()+samples[1].Value.Uint64())
	}
	look()
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				look()
			case <-done:
				return
			}
		}
	})
	return func() float64 {
		close(done)
		group.Wait()
		look()
		return float64(peak)
	}
}
