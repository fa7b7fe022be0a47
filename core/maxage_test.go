package core_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// slowStore is an outbox whose Insert takes a while, or takes effect though it
// fails.
type slowStore struct {
	outbox.Store
	insert  func(records int) time.Duration
	perhaps atomic.Bool // Insert takes effect, and fails
}

func (s *slowStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if s.insert != nil {
		time.Sleep(s.insert(len(records)))
	}
	err := s.Store.Insert(ctx, delay, records...)
	if err == nil && s.perhaps.Load() {
		return errors.New("connection lost at the commit")
	}
	return err
}

// gatedServer has a server answer when the gate is open, and otherwise when the
// caller has gone.
func gatedServer(config *core.Config) (open func()) {
	gate := make(chan struct{})
	next := config.HTTPClient.Transport
	config.HTTPClient = &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		select {
		case <-gate:
			return next.RoundTrip(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})}
	return func() { close(gate) }
}

func TestMemoryIsStoredBeforeItIsTooOld(t *testing.T) {
	for _, n := range []int{1, 10, 3000} { // 3000: most of them wait for a free worker
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			store := memory.New()
			config.Outbox = store
			config.Batching.Payloads = 100
			open := gatedServer(&config)
			client := newTestClient(t, config)
			p := publisherIn(t, client, core.Memory)
			queueN(t, p, n, core.Queued)
			time.Sleep(core.DefaultMaxAge/2 + time.Millisecond) // the rest is for the commit
			synctest.Wait()
			list := records(t, store)
			require.Len(t, list, n)
			for _, record := range list {
				assert.NotEmpty(t, record.LeaseToken, "the relay leaves it to the batch")
			}
			stats := client.Stats()
			assert.Equal(t, n, stats.Queued)
			assert.Zero(t, stats.AtRisk)
			assert.Zero(t, stats.AtRiskFor)
			require.NoError(t, client.Flush(t.Context()), "what is stored is not waited for")

			open()
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Empty(t, records(t, store))
			assert.Len(t, payloadsOf(server, "orders"), n, "each once")
			isEmpty(t, client)
		})
	}
}

func TestMemoryThatIsTakenInTimeIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &insertsStore{Store: memory.New()}
		config.Outbox = store
		client := newTestClient(t, config)
		for range 10 {
			queueN(t, publisherIn(t, client, core.Memory), 100, core.Queued)
			time.Sleep(core.DefaultMaxAge)
		}
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1000)
		assert.Zero(t, store.inserts.Load())
	})
}

// The server takes messages while they are being stored, or after that has
// failed and perhaps taken effect.
func TestMessageTakenDuringItsCommitIsDeleted(t *testing.T) {
	for _, failed := range []bool{false, true} {
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			store := &slowStore{Store: memory.New(), insert: func(int) time.Duration { return time.Second }}
			store.perhaps.Store(failed)
			config.Outbox = store
			open := gatedServer(&config)
			client := newTestClient(t, config)
			queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
			time.Sleep(core.DefaultMaxAge)
			open()
			synctest.Wait()
			assert.Len(t, payloadsOf(server, "orders"), 10)
			assert.Empty(t, records(t, store), "the insert is still under way")
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Empty(t, records(t, store))
			time.Sleep(10 * time.Minute) // longer than any lease
			assert.Len(t, payloadsOf(server, "orders"), 10, "each once")
			isEmpty(t, client)
		})
	}
}

func TestCommitOfUnknownOutcomeIsRepeatedUnderTheSameIDs(t *testing.T) {
	for _, taken := range []bool{false, true} {
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			store := &slowStore{Store: memory.New()}
			store.perhaps.Store(true)
			config.Outbox = store
			open := gatedServer(&config)
			client := newTestClient(t, config)
			require.NoError(t, client.Start(t.Context()))
			queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
			time.Sleep(2 * core.DefaultMaxAge)
			require.Len(t, records(t, store), 10)
			assert.Equal(t, 10, client.Stats().AtRisk, "as far as is known")
			if taken {
				open()
			} else {
				time.Sleep(2 * core.DefaultBulkTimeout) // the post ends in vain
			}
			synctest.Wait()
			store.perhaps.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			if !taken {
				require.Len(t, records(t, store), 10, "each has one row")
				open()
				time.Sleep(2 * backoffMax)
				synctest.Wait()
			}
			assert.Empty(t, records(t, store))
			assert.Len(t, payloadsOf(server, "orders"), 10, "each once")
			isEmpty(t, client)
		})
	}
}

// A post may fail after a commit has, at a time when the outbox is well again.
func TestFailedPostAfterACommitOfUnknownOutcomeIsStoredAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &slowStore{Store: memory.New()}
		store.perhaps.Store(true)
		config.Outbox = store
		open := gatedServer(&config)
		client := startTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
		time.Sleep(2 * core.DefaultMaxAge)
		require.Equal(t, 10, client.Stats().AtRisk)
		store.perhaps.Store(false)
		server.FailNext(1, http.StatusTooManyRequests)
		open()
		synctest.Wait() // and no time passes
		isEmpty(t, client)
		require.Len(t, records(t, store), 10, "each has one row")
		time.Sleep(2 * backoffMax)
		synctest.Wait()
		assert.Empty(t, records(t, store))
		assert.Len(t, payloadsOf(server, "orders"), 10, "each once")
	})
}

func TestMemoryAloneIsToldWhileTheOutboxFails(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		var log logText
		config.Outbox, config.Logger = store, log.logger()
		open := gatedServer(&config)
		client := newTestClient(t, config)
		require.NoError(t, client.Start(t.Context()))
		store.shut.Store(true)
		queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
		time.Sleep(core.DefaultMaxAge)
		require.NoError(t, client.Ready(t.Context()))
		time.Sleep(core.DefaultMaxAge + time.Millisecond)
		require.ErrorIs(t, client.Ready(t.Context()), errBrokenStore)
		require.ErrorContains(t, client.Ready(t.Context()), "10 messages are only in memory, the oldest for 501ms")
		assert.Contains(t, log.String(), "messages stay only in memory")
		stats := client.Stats()
		assert.Equal(t, 10, stats.AtRisk)
		assert.Equal(t, 2*core.DefaultMaxAge+time.Millisecond, stats.AtRiskFor)

		store.shut.Store(false)
		time.Sleep(commitPauseMax)
		require.NoError(t, client.Ready(t.Context()))
		assert.Zero(t, client.Stats().AtRisk)
		open()
		time.Sleep(time.Second)
		assert.Len(t, payloadsOf(server, "orders"), 10)
	})
}

// An outbox that commits 2,000 messages in a second, and a server that hangs:
// no more are in memory alone than are stored before they are too old.
func TestMemoryAdmitsWhatTheOutboxCommitsInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &slowStore{Store: memory.New(), insert: func(records int) time.Duration {
			return 5*time.Millisecond + time.Duration(records)*time.Second/2000
		}}
		config.Outbox = store
		config.Batching.Payloads = 100
		open := gatedServer(&config)
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		oldest, accepted := time.Duration(0), 0
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		settled := time.Now().Add(time.Second) // what the outbox can do is learned first
		for ctx.Err() == nil {
			<-ticker.C
			for range 20 { // ten times as many as the outbox commits
				if _, err := p.Publish(ctx, "orders", struct{}{}); err == nil {
					accepted++
				}
			}
			if time.Now().After(settled) {
				oldest = max(oldest, client.Stats().AtRiskFor)
			}
		}
		assert.LessOrEqual(t, oldest, core.DefaultMaxAge)
		assert.Greater(t, accepted, 3000, "those who wait get room")
		open()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), accepted)
		assert.Empty(t, records(t, store))
		isEmpty(t, client)
	})
}

// What Durable has had in memory gives no capacity to messages in memory alone.
func TestDurableDoesNotRaiseWhatMemoryAdmits(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		admits := func(durable int) (accepted int) {
			store := &closedStore{Store: memory.New()}
			config, next := config, config.HTTPClient.Transport
			config.Outbox = store
			config.HTTPClient = &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				if store.shut.Load() {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return next.RoundTrip(r)
			})}
			client := newTestClient(t, config)
			queueN(t, publisherIn(t, client, core.Durable), durable, core.Stored)
			require.NoError(t, client.Flush(t.Context()))
			time.Sleep(time.Minute)
			isEmpty(t, client)
			store.shut.Store(true)
			defer store.shut.Store(false)
			p := publisherIn(t, client, core.Memory)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for range 10_000 {
				if _, err := p.Publish(ctx, "orders", struct{}{}); err != nil {
					break
				}
				accepted++
			}
			return accepted
		}
		const ahead = 100 // at most, of capacity that shards have reserved for the next messages
		assert.InDelta(t, admits(0), admits(3000), ahead)
	})
}

func TestBatchThatNeverFitsDoesNotKeepOutItsSmallMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New(memory.WithMaxBytes(100_000))
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 5, core.Queued)
		_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 200_000)})
		require.NoError(t, err)
		queueN(t, p, 5, core.Queued)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Len(t, records(t, store), 10)
		assert.Equal(t, 1, client.Stats().AtRisk)
		server.FailWhen(nil)
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, payloadsOf(server, "orders"), 1)
	})
}
