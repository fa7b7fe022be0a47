package queue

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// newTestQueue returns a queue that delivers everything, and a function that
// closes it and returns the number of delivered messages.
func newTestQueue(t *testing.T, payloads int) (q *Queue, end func() int) {
	var running sync.WaitGroup
	var mu sync.Mutex
	delivered := 0
	q = New(Config{
		Payloads: payloads, Bytes: 1 << 20, Delay: time.Minute, InFlight: 1, MaxMessages: 1000, MaxBytes: 1 << 20,
		Deliver: func(_ context.Context, job deliver.Job) *deliver.Outcome {
			mu.Lock()
			defer mu.Unlock()
			delivered += len(job.Batch.Messages)
			return &deliver.Outcome{Failures: make([]*office.Failure, len(job.Batch.Messages))}
		},
		Go:    func(run func()) { running.Go(run) },
		Force: t.Context(),
	})
	return q, func() int {
		q.Close()
		running.Wait()
		return delivered
	}
}

func TestPutTakesAnotherShardUnderLoad(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	q, end := newTestQueue(t, 100)
	q.busy.Store(true)
	for turn := range uint32(2) {
		s := &q.shards[turn]
		s.mu.Lock()
		assert.True(t, q.Put(&message.Batch{Topic: "orders"}, []byte("{}"), "", turn), "the shard of the turn is held")
		s.mu.Unlock()
	}
	assert.Len(t, q.shards[0].open, 1)
	assert.Len(t, q.shards[1].open, 1)
	assert.Equal(t, 2, end())
}

func TestFullBatchesAreAllocatedOnce(t *testing.T) {
	q, end := newTestQueue(t, 100)
	like, payload := &message.Batch{Topic: "orders"}, make([]byte, 300)
	put := func(n int) {
		for range n {
			assert.True(t, q.Put(like, payload, "", 0))
		}
	}
	put(100)
	_, err := q.Flush(t.Context())
	require.NoError(t, err)
	put(1)
	assert.Zero(t, testing.AllocsPerRun(1, func() { put(49) }), "the next one has the size of the last one")
	assert.Equal(t, 199, end())
}
