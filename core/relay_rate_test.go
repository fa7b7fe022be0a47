package core_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestRelayRate(t *testing.T) {
	for _, test := range []struct{ perSecond, rows int }{{1, 5}, {7, 70}, {100, 1000}, {5000, 20_000}} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.New(memory.WithMaxRecords(100_000))
			insert(t, store, "orders", test.rows/2)
			insert(t, store, "bills", test.rows-test.rows/2)
			server := &bubbleServer{}
			client, _ := bubbleClient(t, server, core.Config{Outbox: store, RelayRate: test.perSecond})
			require.NoError(t, client.Start(t.Context()))
			start := time.Now()
			for range 20 {
				time.Sleep(100 * time.Millisecond)
				arrivals, _ := server.count("n")
				assert.LessOrEqual(t, arrivals, int(time.Since(start).Seconds()*float64(test.perSecond)+max(float64(test.perSecond)/4, 1)+0.01))
			}
			time.Sleep(time.Duration(test.rows/test.perSecond+1) * time.Second)
			arrivals, _ := server.count("n")
			assert.Equal(t, test.rows, arrivals, "all within the time of the rate, %d a second", test.perSecond)
			assert.Zero(t, stillStored(t, store))

			time.Sleep(time.Minute)
			stored := time.Now()
			_, err := client.Publish(t.Context(), "orders", map[string]int{"last": 1}, core.WithDedupKey("last"))
			require.NoError(t, err)
			synctest.Wait()
			arrivals, _ = server.count("last")
			assert.Equal(t, 1, arrivals, "without delay after a pause")
			assert.Zero(t, time.Since(stored))
		})
	}
}
