package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// attributes says which attributes messages have.
type attributes string

const (
	// noAttributes messages have none.
	noAttributes attributes = "none"
	// sharedAttributes messages have one in common.
	sharedAttributes attributes = "shared"
	// uniqueAttributes messages have one each, so that no two of them can
	// share a request.
	uniqueAttributes attributes = "unique"
)

// options are those that give the i-th message its attributes.
func (a attributes) options(i int) []core.PublishOption {
	switch a {
	case sharedAttributes:
		return []core.PublishOption{core.WithAttribute("tenant", "acme")}
	case uniqueAttributes:
		return []core.PublishOption{core.WithAttribute("request", strconv.Itoa(i))}
	default:
		return nil
	}
}

// byHand are the attributes of the i-th message as the server gets them.
func (a attributes) byHand(i int) map[string]string {
	switch a {
	case sharedAttributes:
		return map[string]string{"tenant": "acme"}
	case uniqueAttributes:
		return map[string]string{"request": strconv.Itoa(i)}
	default:
		return map[string]string{}
	}
}

// publisher makes the publisher of a request and takes it from the context,
// as a handler does.
func publisher(tb testing.TB, client *core.Client, mode core.Mode) *core.Publisher {
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "/", nil)
	assert.NoError(tb, err)
	var p *core.Publisher
	assert.NoError(tb, client.Serve(nil, request, core.Options{AfterResponse: mode}, func(_ http.ResponseWriter, r *http.Request) error {
		p = core.MustFromContext(r.Context())
		return nil
	}))
	return p
}

// memoryScenarios are messages posted together after the response, without
// an outbox, so that Publish waits when memory is full.
func memoryScenarios(server *helper) []scenario {
	var scenarios []scenario
	for _, s := range []struct {
		attributes  attributes
		concurrency int
	}{
		{noAttributes, 1},
		{noAttributes, 16},
		{noAttributes, 64},
		{sharedAttributes, 16},
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
				{"ours", func(tb testing.TB) job { return memory(tb, server, s.attributes, s.concurrency) }},
			},
		})
	}
	return scenarios
}

// bulkByHand has as many goroutines as there are callers encode 500 payloads
// at a time, and has 4 posts in flight.
func bulkByHand(server *helper, attributes attributes, concurrency int) job {
	hand := newByHand(server.address, core.DefaultBulkTimeout)
	return job{close: hand.close, run: func(tb testing.TB, n int) figures {
		return counted(tb, server, n, func() {
			inFlight := make(chan struct{}, core.DefaultBatchesInFlight)
			var next atomic.Int64
			var posts sync.WaitGroup
			spread(concurrency, concurrency, func(int, int, int) {
				orders := make([]order, 0, core.DefaultBulkLimit)
				for {
					end := int(next.Add(core.DefaultBulkLimit))
					orders = orders[:0]
					for i := end - core.DefaultBulkLimit; i < min(end, n); i++ {
						orders = append(orders, newOrder(i))
					}
					if len(orders) == 0 {
						return
					}
					body, err := json.Marshal(bulk{topic, orders, attributes.byHand(0)})
					assert.NoError(tb, err)
					inFlight <- struct{}{}
					posts.Go(func() {
						assert.NoError(tb, hand.send(tb.Context(), "/api/bulk_messages", body))
						<-inFlight
					})
				}
			})
			posts.Wait()
		})
	}}
}

// singlyByHand posts one message at a time, 4 at the same time.
func singlyByHand(server *helper, attributes attributes) job {
	hand := newByHand(server.address, core.DefaultTimeout)
	return job{close: hand.close, run: func(tb testing.TB, n int) figures {
		return counted(tb, server, n, func() {
			spread(n, core.DefaultBatchesInFlight, func(_, first, count int) {
				for i := first; i < first+count; i++ {
					assert.NoError(tb, hand.post(tb.Context(), "/api/messages", message{topic, newOrder(i), attributes.byHand(i)}))
				}
			})
		})
	}}
}

// memory publishes with AfterResponse Memory, and flushes.
func memory(tb testing.TB, server *helper, attributes attributes, concurrency int) job {
	client := newClient(tb, server, core.Config{})
	run := func(tb testing.TB, n int) figures {
		watch := newStopwatch(concurrency, n)
		result := counted(tb, server, n, func() {
			spread(n, concurrency, func(worker, first, count int) {
				p := publisher(tb, client, core.Memory)
				for i := range count {
					watch.call(worker, i, func() {
						_, err := p.Publish(tb.Context(), topic, newOrder(first+i), attributes.options(first+i)...)
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
		watch := newStopwatch(1, n)
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
	return []scenario{{
		name: "concurrency=1",
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
					p := publisher(tb, client, core.Memory)
					result := paced(tb, n, func(i int) {
						_, err := p.Publish(tb.Context(), topic, newOrder(i))
						assert.NoError(tb, err)
					}, func() {
						assert.NoError(tb, client.Flush(tb.Context()))
					})
					require.Equal(tb, n, server.received(tb)-before, "messages the server has got")
					return result
				}
				return job{run, func(tb testing.TB) { stop(tb, client) }}
			}},
		},
	}}
}
