package core_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// claimCounter counts the claims of an outbox, and what they have returned.
type claimCounter struct {
	outbox.Store
	claimed atomic.Int32
}

func (s *claimCounter) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	records, err := s.Store.Claim(ctx, options)
	s.claimed.Add(int32(len(records)))
	return records, err
}

// While a call probes the server, the circuit breaker lets nothing else through.
// The relay does not go through its outbox for that.
func TestRelayWaitsForTheProbeOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			if p.topic == "probe" {
				return verdict{status: http.StatusCreated, after: time.Hour}
			}
			return verdict{status: http.StatusTooManyRequests}
		}}
		store := &claimCounter{Store: memory.New()}
		client, changes := bubbleClient(t, server, core.Config{Outbox: store, Timeout: 20 * time.Second})
		for range breakerConsecutive {
			_, err := client.Publish(t.Context(), "stored", struct{}{})
			require.NoError(t, err)
		}
		time.Sleep(1100 * time.Millisecond)
		later(func() error {
			_, err := client.Publish(t.Context(), "probe", struct{}{})
			return err
		})
		require.Equal(t, []core.BreakerState{core.BreakerOpen, core.BreakerHalfOpen}, changes.all())
		insertSingles(t, store, "waits", 1000)
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(10 * time.Second)
		assert.LessOrEqual(t, int(store.claimed.Load()), 4*10+1, "one each 250 ms")
	})
}

// A post that has begun before the circuit breaker has opened, and hangs, does
// not keep the relay from probing the server.
func TestRelayProbesBesideAPostThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		server := &bubbleServer{judge: func(p post) verdict {
			switch {
			case p.topic == "hangs":
				return verdict{status: http.StatusCreated, after: time.Hour}
			case down.Load():
				return verdict{status: http.StatusServiceUnavailable, after: 50 * time.Millisecond}
			}
			return taken
		}}
		store := memory.New()
		insertSingles(t, store, "hangs", 1)
		insertSingles(t, store, "good", 100)
		client, changes := bubbleClient(t, server, core.Config{Outbox: store, Timeout: 20 * time.Second})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(300 * time.Millisecond)
		require.Equal(t, []core.BreakerState{core.BreakerOpen}, changes.all())
		down.Store(false)
		time.Sleep(5 * time.Second)
		_, arrived := server.count("good")
		assert.Equal(t, 100, arrived)
	})
}
