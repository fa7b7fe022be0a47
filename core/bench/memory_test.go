package bench

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// memoryScenarios are messages posted together after the response, without
// an outbox, so that Publish waits when memory is full.
func memoryScenarios(server *helper) []scenario {
	var scenarios []scenario
	for _, s := range []struct {
		attributes  attributes
		concurrency int
	}{
		{usual, 1},
		{usual, 16},
		{usual, 64},
		{bare, 1},
		{bare, 16},
		{bare, 64},
		{mapped, 16},
		{identified, 16},
		{identified, 64},
		{uniqueAttributes, 16},
	} {
		scenarios = append(scenarios, scenario{
			name: fmt.Sprintf("attributes=%s/concurrency=%d", s.attributes, s.concurrency),
			sides: []side{
				{"floor", func(testing.TB) job {
					if s.attributes == uniqueAttributes {
						return singlyByHand(server, s.attributes)
					}
					return bulkByHand(server, s.attributes, s.concurrency)
				}},
				{"ours", func(tb testing.TB) job { return publishInMemory(tb, server, s.attributes, s.concurrency) }},
			},
		})
	}
	return scenarios
}

// bulkByHand has as many goroutines as there are callers encode 500 payloads
// at a time and post them.
func bulkByHand(server *helper, attributes attributes, concurrency int) job {
	hand := newByHand(server.address, patience)
	return job{close: hand.close, run: func(tb testing.TB, n int) figures {
		return counted(tb, server, n, func() {
			var next atomic.Int64
			spread(concurrency, concurrency, func(int, int, int) {
				orders := make([]order, 0, core.DefaultBulkLimit)
				for {
					end := int(next.Add(core.DefaultBulkLimit))
					orders = orders[:0]
					for i := end - core.DefaultBulkLimit; i < min(end, n); i++ {
						o := newOrder(i)
						if attributes == identified {
							o.Metadata = handmade
						}
						orders = append(orders, o)
					}
					if len(orders) == 0 {
						return
					}
					assert.NoError(tb, hand.post(tb.Context(), "/api/bulk_messages", bulk{topic, orders, attributes.byHand(0, 0)}))
				}
			})
		})
	}}
}

// singlyByHand posts one message at a time, 4 at the same time.
func singlyByHand(server *helper, attributes attributes) job {
	hand := newByHand(server.address, patience)
	return job{close: hand.close, run: func(tb testing.TB, n int) figures {
		return counted(tb, server, n, func() {
			spread(n, core.DefaultBatchesInFlight, func(worker, first, count int) {
				for i := first; i < first+count; i++ {
					body := message{Topic: topic, Payload: newOrder(i), Attributes: attributes.byHand(worker, i)}
					assert.NoError(tb, hand.post(tb.Context(), "/api/messages", body))
				}
			})
		})
	}}
}

// publishInMemory publishes with AfterResponse Memory, and flushes.
func publishInMemory(tb testing.TB, server *helper, attributes attributes, concurrency int) job {
	client := newClient(tb, server, core.Config{MetadataInPayload: attributes == identified})
	run := func(tb testing.TB, n int) figures {
		watch := newStopwatch(concurrency, n, sampled)
		result := counted(tb, server, n, func() {
			spread(n, concurrency, func(worker, first, count int) {
				c := newCaller(tb, client, core.Memory, attributes, worker)
				for i := range count {
					watch.call(worker, i, func() {
						_, err := c.publish(first + i)
						assert.NoError(tb, err)
					})
				}
			})
			assert.NoError(tb, client.Flush(tb.Context()))
		})
		watch.add(result)
		return result
	}
	return job{run, func(tb testing.TB) { stop(tb, client) }}
}

// pacedScenarios are single calls while memory never fills up.
func pacedScenarios(server *helper) []scenario {
	// paced calls something n times, at most so many times between two calls
	// of rest.
	paced := func(tb testing.TB, n int, call func(i int), rest func()) figures {
		const most = 2000
		watch := newStopwatch(1, n, sampled)
		result := measure(tb, n, func() {
			for i := range n {
				watch.call(0, i, func() { call(i) })
				if i%most == most-1 {
					rest()
				}
			}
			rest()
		})
		watch.add(result)
		return result
	}
	var scenarios []scenario
	for _, attributes := range []attributes{usual, bare} {
		scenarios = append(scenarios, scenario{
			name: fmt.Sprintf("attributes=%s/concurrency=1", attributes),
			sides: []side{
				{"floor", func(testing.TB) job {
					return job{run: func(tb testing.TB, n int) figures {
						return paced(tb, n, func(i int) {
							_, err := json.Marshal(newOrder(i))
							assert.NoError(tb, err)
						}, func() {})
					}}
				}},
				{"ours", func(tb testing.TB) job {
					client := newClient(tb, server, core.Config{})
					run := func(tb testing.TB, n int) figures {
						before := server.received(tb)
						c := newCaller(tb, client, core.Memory, attributes, 0)
						result := paced(tb, n, func(i int) {
							_, err := c.publish(i)
							assert.NoError(tb, err)
						}, func() {
							assert.NoError(tb, client.Flush(tb.Context()))
						})
						require.Equal(tb, n, server.received(tb)-before, "messages the server has got")
						return result
					}
					return job{run, func(tb testing.TB) { stop(tb, client) }}
				}},
			}})
	}
	return scenarios
}
