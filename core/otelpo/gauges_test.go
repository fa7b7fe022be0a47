package otelpo_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// countingStore counts the calls of Stats.
type countingStore struct {
	outbox.Store
	asked atomic.Int64
	err   error
}

func (s *countingStore) Stats(ctx context.Context) (outbox.Stats, error) {
	s.asked.Add(1)
	if s.err != nil {
		return outbox.Stats{}, s.err
	}
	return s.Store.Stats(ctx)
}

func record(id string, state outbox.State) outbox.Record {
	return outbox.Record{ID: id, Topic: "orders", Payload: []byte("{}"), Attributes: []byte("{}"), State: state}
}

func TestGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		store := &countingStore{Store: memory.New()}
		client := newClient(t, core.Config{URL: "http://postoffice.test", Outbox: store})
		stop, err := otelpo.Gauges(client, append(seen.options(), otelpo.WithOutboxInterval(time.Minute))...)
		require.NoError(t, err)
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.outbox.oldest.age"))
		require.NoError(t, store.Insert(t.Context(), 0, record("a", outbox.Pending), record("b", outbox.Pending), record("c", outbox.Dead)))
		assert.Equal(t, map[string]float64{"postoffice.outbox.state=pending": 0, "postoffice.outbox.state=dead": 0},
			seen.points("postoffice.outbox.messages"), "it was asked a moment ago")
		assert.Equal(t, int64(1), store.asked.Load())

		time.Sleep(time.Minute)
		assert.Equal(t, map[string]float64{"postoffice.outbox.state=pending": 2, "postoffice.outbox.state=dead": 1}, seen.points("postoffice.outbox.messages"))
		assert.Equal(t, map[string]float64{"": 60}, seen.points("postoffice.outbox.oldest.age"))
		assert.Equal(t, map[string]float64{"": 30}, seen.points("postoffice.outbox.bytes"))
		assert.Equal(t, int64(2), store.asked.Load())
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.queue.messages"))
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.queue.at_risk.age"))
		assert.Equal(t, map[string]float64{"postoffice.breaker.state=closed": 1, "postoffice.breaker.state=half-open": 0, "postoffice.breaker.state=open": 0},
			seen.points("postoffice.breaker.state"))
		assert.Equal(t, seen.points("postoffice.breaker.state"), seen.points("postoffice.outbox.breaker.state"))

		require.NoError(t, stop())
		assert.Empty(t, seen.points("postoffice.outbox.messages"))
		assert.Equal(t, int64(2), store.asked.Load())
	})
}

func TestGaugesOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		client := newClient(t, core.Config{URL: "http://postoffice.test", HTTPClient: answering(201)})
		stop, err := otelpo.Gauges(client, seen.options()...)
		require.NoError(t, err)
		defer func() { assert.NoError(t, stop()) }()
		p := request(t, t.Context(), client)
		for range 3 {
			_, err := p.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		}
		assert.Equal(t, map[string]float64{"": 3}, seen.points("postoffice.queue.messages"))
		assert.Equal(t, map[string]float64{"": 6}, seen.points("postoffice.queue.bytes"))
		time.Sleep(core.DefaultBatchDelay / 2)
		assert.Equal(t, map[string]float64{"": 0.01}, seen.points("postoffice.queue.at_risk.age"))
		assert.NotContains(t, seen.scrape(), "postoffice.outbox.messages", "there is no outbox")
		require.NoError(t, client.Flush(t.Context()))
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.queue.messages"))
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.queue.at_risk.age"))
	})
}

func TestGaugesLeaveOutAnOutboxInTrouble(t *testing.T) {
	var told []error
	before := otel.GetErrorHandler()
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { told = append(told, err) }))
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	seen := collect(t)
	store := &countingStore{Store: memory.New(), err: errors.New("disk is full")}
	client := newClient(t, core.Config{URL: "http://postoffice.test", Outbox: store})
	stop, err := otelpo.Gauges(client, seen.options()...)
	require.NoError(t, err)
	defer func() { assert.NoError(t, stop()) }()
	for range 3 {
		var data metricdata.ResourceMetrics
		require.NoError(t, seen.reader.Collect(t.Context(), &data), "or a periodic reader would export nothing at all")
		names := map[string]bool{}
		for _, m := range data.ScopeMetrics[0].Metrics {
			names[m.Name] = true
		}
		assert.True(t, names["postoffice.queue.messages"])
		assert.False(t, names["postoffice.outbox.messages"])
	}
	assert.Equal(t, int64(1), store.asked.Load(), "the error is cached")
	require.Len(t, told, 1)
	assert.ErrorIs(t, told[0], store.err)
}

func TestGaugesNameWhatIsWrong(t *testing.T) {
	_, err := otelpo.Gauges(nil, nil, otelpo.WithMeterProvider((*sdkmetric.MeterProvider)(nil)), otelpo.WithOutboxInterval(-1))
	require.ErrorContains(t, err, "client is nil")
	require.ErrorContains(t, err, "options[0] is nil")
	require.ErrorContains(t, err, "WithOutboxInterval of -1ns, below zero")
}

// TestObserverReportsWhatIsNil uses a nil option together with a valid one.
func TestObserverReportsWhatIsNil(t *testing.T) {
	var reported error
	before := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { reported = err }))
	seen := collect(t)
	observer := otelpo.Observer(append(seen.options(), nil)...)
	require.ErrorContains(t, reported, "is nil")
	observer.Dead(core.Event{Topic: "orders", Messages: 1})
	assert.NotEmpty(t, seen.points("postoffice.dead.messages"))
}
