package bench

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// drained is how many messages BenchmarkTopics drains.
const drained = 10_000

// BenchmarkTopics has the relay deliver messages of many topics. Each needs a
// request of its own, so that the number of requests is the same.
func BenchmarkTopics(b *testing.B) {
	for _, topics := range []int{1, 200, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				server := startHelper(b)
				drain(b, server, topics, drained, b.StartTimer)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/drained, "ns/msg")
		})
	}
}

func TestTopics(t *testing.T) { drain(t, startHelper(t), 3, 30, func() {}) }

// drain stores messages of many topics and waits until the server has them all.
func drain(tb testing.TB, server *helper, topics, messages int, begin func()) {
	store, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "outbox"))
	require.NoError(tb, err)
	for first := 0; first < messages; first += 1000 {
		var records []outbox.Record
		for i := first; i < min(first+1000, messages); i++ {
			records = append(records, outbox.Record{
				ID: uuid.Must(uuid.NewV7()).String(), Topic: fmt.Sprintf("topic-%d", i%topics),
				Payload: fmt.Appendf(nil, `{"n":%d}`, i), Attributes: fmt.Appendf(nil, `{"n":"%d"}`, i),
			})
		}
		require.NoError(tb, store.Insert(tb.Context(), 0, records...))
	}
	delivered := make(chan int, messages)
	client := newClient(tb, server, core.Config{Outbox: store, Observer: core.Observer{Delivered: func(e core.Event) { delivered <- e.Messages }}})
	begin()
	require.NoError(tb, client.Start(tb.Context()))
	for got := 0; got < messages; {
		select {
		case n := <-delivered:
			got += n
		case <-time.After(time.Minute):
			tb.Fatal("the relay delivers nothing any more")
		}
	}
	stop(tb, client)
	stats, err := store.Stats(tb.Context())
	require.NoError(tb, err)
	require.Zero(tb, stats.Pending, "messages left")
	require.NoError(tb, store.Close())
}
