package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// patience is the timeout of a floor that overloads the server.
const patience = 30 * time.Second

// newClient makes a client of a server, as an app would, except that it logs
// nothing.
func newClient(tb testing.TB, server *helper, config core.Config) *core.Client {
	config.URL = "http://" + server.address
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := core.NewClient(config)
	require.NoError(tb, err)
	return client
}

// stop stops a client, which must have delivered or stored everything.
func stop(tb testing.TB, client *core.Client) {
	require.NoError(tb, client.Stop(tb.Context()))
}

// published makes calls that publish a message each and return when the server
// has it. begin returns the function that a worker calls.
func published(tb testing.TB, server *helper, n, concurrency int, begin func(worker int) func(i int)) figures {
	result, missing := called(tb, server, n, concurrency, begin)
	require.Zero(tb, missing, "messages that the server has not got")
	return result
}

// called makes calls that publish a message each, and returns how many messages
// the server has not got.
func called(tb testing.TB, server *helper, n, concurrency int, begin func(worker int) func(i int)) (result figures, missing int) {
	watch := newStopwatch(concurrency, n, 1)
	result, missing = tally(tb, server, n, func() {
		spread(n, concurrency, func(worker, first, count int) {
			publish := begin(worker)
			for i := range count {
				watch.call(worker, i, func() { publish(first + i) })
			}
		})
	})
	watch.add(result)
	return result, missing
}

// mix is what the messages of callers have in common.
type mix struct {
	name       string
	topics     int
	attributes attributes
	callers    []int
}

var mixes = []mix{
	{"usual", 1, usual, []int{1, 16, 64}},
	{"bare", 1, bare, []int{1, 16, 64}},
	{"topics", 4, usual, []int{16, 64}},
	{"own", 1, ownAttributes, []int{16, 64}},
}

// topicOf returns the topic of a worker's messages.
func (l mix) topicOf(worker int) string {
	if l.topics == 1 {
		return topic
	}
	return fmt.Sprint(topic, worker%l.topics)
}

// publishScenarios are single messages posted within the call, to a server that
// answers at once, and to one that has the cost of the real one.
func publishScenarios(tb testing.TB) []scenario {
	var scenarios []scenario
	for _, state := range []string{"0ms", "model"} {
		server := startHelper(tb)
		if state == "model" {
			server.ask(tb, "model")
		}
		for _, l := range mixes {
			for _, concurrency := range l.callers {
				scenarios = append(scenarios, scenario{
					name: fmt.Sprintf("server=%s/mix=%s/concurrency=%d", state, l.name, concurrency),
					sides: []side{
						{"floor", func(testing.TB) job { return postSingly(server, l, concurrency) }},
						{"ours", func(tb testing.TB) job { return publishSingly(tb, server, l, concurrency) }},
					},
				})
			}
		}
	}
	return scenarios
}

// postSingly posts messages by hand.
func postSingly(server *helper, l mix, concurrency int) job {
	hand := newByHand(server.address, patience)
	return job{close: hand.close, run: func(tb testing.TB, n int) figures {
		return published(tb, server, n, concurrency, func(worker int) func(int) {
			topic := l.topicOf(worker)
			return func(i int) {
				body := message{Topic: topic, Payload: newOrder(i), Attributes: l.attributes.byHand(worker, i)}
				assert.NoError(tb, hand.post(tb.Context(), "/api/messages", body))
			}
		})
	}}
}

// publishSingly publishes messages within the call. Those that the server does
// not take in time are stored, as in an app.
func publishSingly(tb testing.TB, server *helper, l mix, concurrency int) job {
	store := memory.New()
	client := newClient(tb, server, core.Config{Outbox: store})
	var stored atomic.Int64
	run := func(tb testing.TB, n int) figures {
		before := stored.Load()
		result, missing := called(tb, server, n, concurrency, func(worker int) func(int) {
			c := newCaller(tb, client, core.Off, l.attributes, worker)
			c.topic = l.topicOf(worker)
			return func(i int) {
				receipt, err := c.publish(i)
				assert.NoError(tb, err)
				if receipt.State == core.Stored {
					stored.Add(1)
				}
			}
		})
		now := int(stored.Load() - before)
		require.LessOrEqual(tb, missing, now, "messages that neither the server has got nor the outbox")
		result["delivered-%"] = 100 * float64(n-now) / float64(n)
		return result
	}
	return job{run, func(tb testing.TB) {
		stop(tb, client)
		stats, err := store.Stats(tb.Context())
		require.NoError(tb, err)
		require.EqualValues(tb, stored.Load(), stats.Pending, "messages in the outbox")
		require.NoError(tb, store.Close())
	}}
}

// bulkScenarios are calls of PublishBulk with so many messages, beside requests
// of 500 by hand, one after the other.
func bulkScenarios(tb testing.TB, size int) []scenario {
	var scenarios []scenario
	for _, state := range []string{"0ms", "model"} {
		server := startHelper(tb)
		if state == "model" {
			server.ask(tb, "model")
		}
		// Whole calls are made, so that there are more messages than asked for.
		whole := func(tb testing.TB, n int, call func(ctx context.Context, orders []order)) figures {
			orders := make([]order, size)
			for i := range orders {
				orders[i] = newOrder(i)
			}
			calls := (n + size - 1) / size
			result := counted(tb, server, calls*size, func() {
				for range calls {
					call(tb.Context(), orders)
				}
			})
			delete(result, "ns/op")
			return result
		}
		scenarios = append(scenarios, scenario{name: "server=" + state, sides: []side{
			{"floor", func(testing.TB) job {
				hand := newByHand(server.address, patience)
				return job{close: hand.close, run: func(tb testing.TB, n int) figures {
					return whole(tb, n, func(ctx context.Context, orders []order) {
						for first := 0; first < len(orders); first += core.DefaultBulkLimit {
							some := orders[first:min(first+core.DefaultBulkLimit, len(orders))]
							assert.NoError(tb, hand.post(ctx, "/api/bulk_messages", bulk{topic, some, usual.byHand(0, 0)}))
						}
					})
				}}
			}},
			{"ours", func(tb testing.TB) job {
				client := newClient(tb, server, core.Config{})
				return job{close: func(tb testing.TB) { stop(tb, client) }, run: func(tb testing.TB, n int) figures {
					return whole(tb, n, func(ctx context.Context, orders []order) {
						_, err := client.PublishBulk(ctx, topic, core.Payloads(orders), usual.options(0, 0)...)
						assert.NoError(tb, err)
					})
				}}
			}},
		}})
	}
	return scenarios
}

// scheduledScenarios are single messages that the server delivers later.
func scheduledScenarios(server *helper) []scenario {
	at := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond)
	var scenarios []scenario
	for _, concurrency := range []int{1, 16} {
		scenarios = append(scenarios, scenario{
			name: fmt.Sprintf("concurrency=%d", concurrency),
			sides: []side{
				{"floor", func(testing.TB) job {
					hand := newByHand(server.address, patience)
					return job{close: hand.close, run: func(tb testing.TB, n int) figures {
						return published(tb, server, n, concurrency, func(worker int) func(int) {
							return func(i int) {
								body := message{topic, newOrder(i), usual.byHand(worker, i), &at}
								assert.NoError(tb, hand.post(tb.Context(), "/api/schedule_messages", body))
							}
						})
					}}
				}},
				{"ours", func(tb testing.TB) job {
					client := newClient(tb, server, core.Config{})
					return job{close: func(tb testing.TB) { stop(tb, client) }, run: func(tb testing.TB, n int) figures {
						return published(tb, server, n, concurrency, func(worker int) func(int) {
							return func(i int) {
								_, err := client.Publish(tb.Context(), topic, newOrder(i), append(usual.options(worker, i), core.DeliverAt(at))...)
								assert.NoError(tb, err)
							}
						})
					}}
				}},
			},
		})
	}
	return scenarios
}
