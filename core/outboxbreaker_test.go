package core_test

import (
	"context"
	"errors"
	"net/http"
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

// hangingStore is an outbox that can hang: its calls wait until their contexts end,
// or until it is well.
type hangingStore struct {
	outbox.Store
	mu sync.Mutex
	// well is closed while the store does not hang.
	well  chan struct{}
	calls atomic.Int32 // while it hangs
}

func newHangingStore() *hangingStore {
	s := &hangingStore{Store: memory.New(), well: make(chan struct{})}
	close(s.well)
	return s
}

// hang makes calls hang until the returned function is called.
func (s *hangingStore) hang() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	well := make(chan struct{})
	s.well = well
	return func() { close(well) }
}

func (s *hangingStore) wait(ctx context.Context) error {
	s.mu.Lock()
	well := s.well
	s.mu.Unlock()
	select {
	case <-well:
		return nil
	default:
		s.calls.Add(1)
	}
	select {
	case <-well:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *hangingStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return s.Store.Insert(ctx, delay, records...)
}

func (s *hangingStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, options)
}

func (s *hangingStore) Delete(ctx context.Context, ids ...string) (int, error) {
	if err := s.wait(ctx); err != nil {
		return 0, err
	}
	return s.Store.Delete(ctx, ids...)
}

// publishFor publishes from so many goroutines for a time, each again after a
// millisecond, and returns the results of calls that began after some time.
func publishFor(t *testing.T, p *core.Publisher, callers int, from, until time.Duration) []result {
	t.Helper()
	var mu sync.Mutex
	var results []result
	start := time.Now()
	concurrently(callers, func(i int) (core.Receipt, error) {
		for began := time.Since(start); began < until; began = time.Since(start) {
			receipt, err := p.Publish(t.Context(), "orders", good(i))
			if took := time.Since(start) - began; began >= from {
				mu.Lock()
				results = append(results, result{receipt: receipt, err: err, took: took})
				mu.Unlock()
			}
			time.Sleep(time.Millisecond)
		}
		return core.Receipt{}, nil
	})
	return results
}

// An outbox that hangs slows calls of Durable for a second; then they post at once.
func TestHangingOutboxSlowsNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHangingStore()
		server := &bubbleServer{judge: after(5 * time.Millisecond)}
		var changes breakerChanges
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, Observer: core.Observer{OutboxBreaker: changes.add}})
		require.NoError(t, client.Start(t.Context()))
		p := publisherIn(t, client, core.Durable)
		for _, r := range publishFor(t, p, 32, 0, 100*time.Millisecond) {
			require.NoError(t, r.err)
			require.Equal(t, core.Stored, r.receipt.State)
		}
		resume := store.hang()
		assert.Equal(t, core.BreakerClosed, client.Stats().OutboxBreaker)
		var slow int
		results := publishFor(t, p, 32, time.Second, 10*time.Second)
		for _, r := range results {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
			if r.took > 20*time.Millisecond {
				slow++
			}
		}
		assert.LessOrEqual(t, slow, 10, "one call in a second probes the outbox")
		assert.Greater(t, len(results), 9*32*50, "calls")
		assert.Equal(t, core.BreakerOpen, changes.all()[0])
		assert.Less(t, store.calls.Load(), int32(60), "calls of the outbox")

		resume()
		time.Sleep(3 * time.Second) // within which the relay or a call tries it
		receipt, err := p.Publish(t.Context(), "orders", good(1))
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		assert.Equal(t, core.BreakerClosed, client.Stats().OutboxBreaker)
		time.Sleep(5 * time.Second)
		assert.Zero(t, stillStored(t, store.Store), "also what was inserted by a call that had given up")
	})
}

// With a server that fails, too, nobody waits for an outbox that hangs.
func TestNothingIsAcceptedWhenServerAndOutboxHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHangingStore()
		client, changes := bubbleClient(t, refusing, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		receipt, err := client.Publish(t.Context(), "orders", good(1))
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		resume := store.hang()
		for _, r := range concurrently(32, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.ErrorIs(t, r.err, core.ErrNotAccepted)
		}
		waited := 0
		for range 20 {
			start := time.Now()
			_, err := client.Publish(t.Context(), "orders", good(2))
			require.ErrorIs(t, err, core.ErrNotAccepted)
			if time.Since(start) > 0 {
				waited++
			}
			require.Error(t, client.Ready(t.Context()))
		}
		assert.LessOrEqual(t, waited, 1, "one call may probe the outbox")
		assert.NotEmpty(t, changes.all())
		resume()
		time.Sleep(3 * time.Second)
		receipt, err = client.Publish(t.Context(), "orders", good(3))
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		require.NoError(t, client.Ready(t.Context()))
	})
}

// Messages of Memory stay in memory while neither the server nor the outbox takes
// them.
func TestMemoryWaitsForServerAndOutboxThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHangingStore()
		var up atomic.Bool
		server := &bubbleServer{}
		client, _ := bubbleClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			if !up.Load() {
				return nil, errors.New("refused")
			}
			return server.RoundTrip(r)
		}), core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		resume := store.hang()
		p := publisherIn(t, client, core.Memory)
		for i := range 50 {
			receipt, err := p.Publish(t.Context(), "orders", good(i))
			require.NoError(t, err)
			require.Equal(t, core.Queued, receipt.State)
			time.Sleep(500 * time.Millisecond)
		}
		up.Store(true)
		resume()
		require.NoError(t, client.Flush(t.Context()))
		time.Sleep(10 * time.Second)
		_, different := server.count("good")
		assert.Equal(t, 50, different)
	})
}

// An open circuit breaker of the outbox does not lose messages of a client that is
// forced to stop: the outbox may be back.
func TestForcedStopStoresDespiteOutboxBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHangingStore()
		client, _ := bubbleClient(t, refusing, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		resume := store.hang()
		p := publisherIn(t, client, core.Memory)
		for i := range 5 {
			_, err := p.Publish(t.Context(), "orders", good(i), core.WithAttribute("n", i))
			require.NoError(t, err)
		}
		for client.Stats().OutboxBreaker != core.BreakerOpen {
			time.Sleep(time.Millisecond)
		}
		resume()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		require.NoError(t, client.Stop(ctx))
		assert.Equal(t, 5, stillStored(t, store.Store))
	})
}

// slowingStore is an outbox whose inserts take some time.
type slowingStore struct {
	outbox.Store
	takes atomic.Int64
}

func (s *slowingStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	select {
	case <-time.After(time.Duration(s.takes.Load())):
		return s.Store.Insert(ctx, delay, records...)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An outbox that becomes slow, but answers, is used again after few calls.
func TestDurableUsesAnOutboxThatBecomesSlow(t *testing.T) {
	for name, test := range map[string]struct {
		server http.RoundTripper
		from   time.Duration
	}{
		"the server works": {&bubbleServer{}, 5 * time.Second},
		"the server fails": {refusing, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &slowingStore{Store: memory.New()}
				store.takes.Store(int64(5 * time.Millisecond))
				client, _ := bubbleClient(t, test.server, core.Config{Outbox: store})
				require.NoError(t, client.Start(t.Context()))
				p := publisherIn(t, client, core.Durable)
				publishFor(t, p, 8, 0, 200*time.Millisecond)
				store.takes.Store(int64(900 * time.Millisecond))
				results := publishFor(t, p, 8, test.from, 15*time.Second)
				assert.NotEmpty(t, results)
				for _, r := range results {
					require.NoError(t, r.err)
					require.Equal(t, core.Stored, r.receipt.State)
				}
				assert.Equal(t, core.BreakerClosed, client.Stats().OutboxBreaker)
			})
		})
	}
}

// lateStore is an outbox whose inserts take effect after their callers have given
// up, and after so many deletes.
type lateStore struct {
	outbox.Store
	deletes int
	records []outbox.Record
	delay   time.Duration
}

func (s *lateStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	<-ctx.Done()
	s.records, s.delay = records, delay
	return errors.Join(ctx.Err(), s.commit())
}

// commit stores the records if there have been so many deletes.
func (s *lateStore) commit() error {
	if s.deletes != 0 {
		return nil
	}
	return s.Store.Insert(context.Background(), s.delay, s.records...)
}

func (s *lateStore) Delete(ctx context.Context, ids ...string) (int, error) {
	n, err := s.Store.Delete(ctx, ids...)
	s.deletes--
	return n, errors.Join(err, s.commit())
}

// A row of an insert that ran out of time leaves the outbox if its message was
// posted.
func TestDurableRemovesWhatWasStoredLate(t *testing.T) {
	for _, deletes := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			store, server := &lateStore{Store: memory.New(), deletes: deletes}, &bubbleServer{}
			client, _ := bubbleClient(t, server, core.Config{Outbox: store})
			require.NoError(t, client.Start(t.Context()))
			receipt, err := publisherIn(t, client, core.Durable).Publish(t.Context(), "orders", good(1))
			require.NoError(t, err)
			assert.Equal(t, core.Delivered, receipt.State)
			time.Sleep(2100 * time.Millisecond)
			assert.Equal(t, deletes, stillStored(t, store.Store))
			time.Sleep(5 * time.Second)
			assert.Zero(t, stillStored(t, store.Store))
			time.Sleep(5 * time.Minute) // leases have ended
			arrivals, _ := server.count("good")
			assert.Equal(t, 1, arrivals)
		})
	}
}

// Rows of a unit of work that was not accepted, because its commit ran out of
// time, leave the outbox. So does one message that the server did not accept,
// either.
func TestNotAcceptedRemovesWhatWasStoredLate(t *testing.T) {
	for _, deletes := range []int{0, 1} {
		for _, messages := range []int{1, 3} {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := &lateStore{Store: memory.New(), deletes: deletes}
				config.Outbox = store
				client := newTestClient(t, config)
				require.NoError(t, client.Start(t.Context()))
				p, err := client.NewPublisher(core.Options{AfterResponse: core.Durable, FlushOn: core.Committed})
				require.NoError(t, err)
				queueN(t, p, messages, core.Held)
				if messages == 1 {
					server.FailNext(5, http.StatusServiceUnavailable)
				}
				_, err = p.End(t.Context(), core.Outcome{})
				require.ErrorIs(t, err, core.ErrNotAccepted)
				time.Sleep(time.Hour) // leases have ended
				assert.Zero(t, stillStored(t, store.Store))
				assert.Empty(t, server.Messages(), "the client was told that none is accepted")
			})
		}
	}
}
