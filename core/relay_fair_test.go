package core_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// insertSingles puts messages of a topic into an outbox that need a request each.
func insertSingles(t *testing.T, store outbox.Store, topic string, n int) {
	t.Helper()
	list := make([]outbox.Record, n)
	for i := range list {
		list[i] = outbox.Record{
			ID: uuid.Must(uuid.NewV7()).String(), Topic: topic, Payload: fmt.Appendf(nil, `{"%s":%d}`, topic, i),
			Attributes: fmt.Appendf(nil, `{"n":"%d"}`, i),
		}
	}
	require.NoError(t, store.Insert(t.Context(), 0, list...))
}

// arrivals counts the messages of each topic, and notes when they arrived.
type arrivals struct {
	mu    sync.Mutex
	times map[string][]time.Time
}

func (a *arrivals) add(topic string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = map[string][]time.Time{}
	}
	for range n {
		a.times[topic] = append(a.times[topic], time.Now())
	}
}

func (a *arrivals) of(topic string) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times[topic]
}

// A topic whose requests take long does not hold up another one.
func TestSlowTopicHoldsUpNoOther(t *testing.T) {
	for name, test := range map[string]struct {
		slow   int
		others bool // stored by another process
		within time.Duration
	}{
		"2,000 rows":           {2000, false, time.Second},
		"100,000 rows":         {100_000, false, time.Second},
		"of another process":   {2000, true, relayPoll + time.Second},
		"100,000 of another's": {100_000, true, relayPoll + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && test.slow > 10_000 {
				t.Skip("takes long")
			}
			synctest.Test(t, func(t *testing.T) {
				var seen arrivals
				server := &bubbleServer{judge: func(p post) verdict {
					if p.topic == "slow" {
						return verdict{status: http.StatusCreated, after: 400 * time.Millisecond}
					}
					seen.add(p.topic, len(p.payloads))
					return taken
				}}
				store := memory.New(memory.WithMaxRecords(200_000))
				insertSingles(t, store, "slow", test.slow)
				client, _ := bubbleClient(t, server, core.Config{Outbox: store})
				require.NoError(t, client.Start(t.Context()))
				time.Sleep(100 * time.Millisecond)
				stored := time.Now()
				if test.others {
					insertSingles(t, store, "fast", 10)
				} else {
					for i := range 10 {
						_, err := client.Publish(t.Context(), "fast", map[string]int{"n": i}, core.WithDedupKey(fmt.Sprint(i)), core.WithAttribute("n", i))
						require.NoError(t, err)
					}
				}
				time.Sleep(test.within)
				times := seen.of("fast")
				require.Len(t, times, 10)
				t.Logf("the last one arrived after %v", times[9].Sub(stored))
			})
		})
	}
}

// Topics whose posts run out of time cost the others at most half of what they
// have without them, and hold them up for one timeout at most.
func TestHangingTopicsCostOthersAtMostHalf(t *testing.T) {
	const interval = 40 * time.Millisecond
	throughput := func(t *testing.T, hanging int) (perSecond float64, longest time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var seen arrivals
			server := &bubbleServer{judge: func(p post) verdict {
				if strings.HasPrefix(p.topic, "a-hangs") {
					return verdict{status: http.StatusCreated, after: time.Hour}
				}
				seen.add("good", 1)
				return verdict{status: http.StatusCreated, after: interval}
			}}
			store := memory.New(memory.WithMaxRecords(200_000))
			for i := range hanging {
				insertSingles(t, store, fmt.Sprintf("a-hangs-%d", i), 500)
			}
			for i := range 8 {
				insertSingles(t, store, fmt.Sprintf("good-%d", i), 1500)
			}
			client, _ := bubbleClient(t, server, core.Config{Outbox: store})
			began := time.Now()
			require.NoError(t, client.Start(t.Context()))
			time.Sleep(30 * time.Second)
			last := began
			for _, at := range seen.of("good") {
				longest = max(longest, at.Sub(last))
				last = at
			}
			perSecond = float64(len(seen.of("good"))) / 30
		})
		return perSecond, longest
	}
	alone, _ := throughput(t, 0)
	for _, hanging := range []int{1, 3, 10} {
		perSecond, longest := throughput(t, hanging)
		t.Logf("%d topics hang: %.2f of the throughput without, and nothing for %v", hanging, perSecond/alone, longest)
		assert.GreaterOrEqual(t, perSecond, alone/2, "%d topics hang", hanging)
		assert.LessOrEqual(t, longest, core.DefaultTimeout+interval, "%d topics hang", hanging)
	}
}

// No topic has all slots while others wait, and one that is alone has them all.
func TestSlotsOfATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := map[string]int{}, map[string]int{}
		server := &bubbleServer{}
		transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			topic := topicOf(t, r)
			mu.Lock()
			running[topic]++
			most[topic] = max(most[topic], running[topic])
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			running[topic]--
			mu.Unlock()
			return server.RoundTrip(r)
		})
		store := memory.New()
		insertSingles(t, store, "a", 300)
		insertSingles(t, store, "b", 300)
		client, _ := bubbleClient(t, transport, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(time.Second)
		mu.Lock()
		for _, topic := range []string{"a", "b"} {
			assert.LessOrEqual(t, most[topic], slots/2, "topic %s", topic)
			assert.GreaterOrEqual(t, most[topic], slots/2-1, "topic %s, to which the last free slot may be closed", topic)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		require.Zero(t, stillStored(t, store))
		insertSingles(t, store, "a", 300)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, slots, most["a"], "it is alone")
	})
}

// topicOf returns the topic of a request, whose body stays readable.
func topicOf(t *testing.T, r *http.Request) string {
	t.Helper()
	body, err := r.GetBody()
	require.NoError(t, err)
	var message struct{ Topic string }
	require.NoError(t, json.NewDecoder(body).Decode(&message))
	return message.Topic
}

// What the relay has claimed and not posted is due again when it stops, and its
// attempts are not counted.
func TestStopGivesBackWhatWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusCreated, after: 400 * time.Millisecond}
		}}
		store := memory.New()
		insertSingles(t, store, "slow", 300)
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(time.Second)
		held, err := store.Stats(t.Context())
		require.NoError(t, err)
		require.NotZero(t, held.Held)
		require.NoError(t, client.Stop(t.Context()))
		left := records(t, store)
		arrived, _ := server.count("slow")
		assert.Len(t, left, 300-arrived)
		for _, record := range left {
			assert.Empty(t, record.LeaseToken)
			assert.Zero(t, record.Attempts)
			assert.False(t, record.DueAt.After(time.Now()))
		}
	})
}

// Rows that wait behind a post which runs out of time are left to other processes.
func TestTopicThatHangsGivesItsRowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict { return verdict{status: http.StatusCreated, after: time.Hour} }}
		store := memory.New()
		insertSingles(t, store, "hangs", 400)
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(2 * time.Second)
		stats, err := store.Stats(t.Context())
		require.NoError(t, err)
		assert.Less(t, stats.Held, 400/slots+1, "one slot has some")
	})
}

// A topic whose post does not end, because the transport ignores its context, has
// no other slot. Its rows are left to other processes.
func TestTopicThatIsStuckHasOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{}
		release := make(chan struct{})
		defer close(release)
		var mu sync.Mutex
		stuck := 0
		transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			if topicOf(t, r) == "stuck" {
				mu.Lock()
				stuck++
				mu.Unlock()
				<-release
			}
			return server.RoundTrip(r)
		})
		store := memory.New()
		insertSingles(t, store, "stuck", 1)
		client, _ := bubbleClient(t, transport, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(10 * time.Minute)
		insertSingles(t, store, "good", 10)
		time.Sleep(relayPoll + time.Second)
		_, arrived := server.count("good")
		assert.Equal(t, 10, arrived)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, 1, stuck)
	})
}

// Rows that have failed before have one slot while others of their topic wait.
func TestRowsThatHaveFailedHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusCreated, after: 100 * time.Millisecond}
		}}
		store := memory.New()
		list := make([]outbox.Record, 100)
		for i := range list {
			list[i] = outbox.Record{
				ID: uuid.Must(uuid.NewV7()).String(), Topic: "orders", Payload: fmt.Appendf(nil, `{"failed":%d}`, i),
				Attributes: fmt.Appendf(nil, `{"n":"%d"}`, i), Attempts: 1, LastError: "timeout",
			}
		}
		require.NoError(t, store.Insert(t.Context(), 0, list...))
		insertSingles(t, store, "orders", 100)
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(time.Second)
		_, failed := server.count("failed")
		_, fresh := server.count("orders")
		assert.LessOrEqual(t, failed, 11)
		assert.GreaterOrEqual(t, fresh, 60)
	})
}
