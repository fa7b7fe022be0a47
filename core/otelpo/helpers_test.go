package otelpo_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// telemetry collects metrics and spans in memory.
type telemetry struct {
	t       *testing.T
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
}

func collect(t *testing.T) *telemetry {
	t.Helper()
	c := &telemetry{t: t, reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	c.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	c.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(c.spans))
	t.Cleanup(func() {
		assert.NoError(t, c.meters.Shutdown(context.Background()))
		assert.NoError(t, c.tracers.Shutdown(context.Background()))
	})
	return c
}

func (c *telemetry) options() []otelpo.Option {
	return []otelpo.Option{otelpo.WithMeterProvider(c.meters), otelpo.WithTracerProvider(c.tracers)}
}

func (c *telemetry) observer() core.Observer { return otelpo.Observer(c.options()...) }

// scrape collects the metrics, by name.
func (c *telemetry) scrape() map[string]metricdata.Metrics {
	c.t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(c.t, c.reader.Collect(context.Background(), &data))
	found := map[string]metricdata.Metrics{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// points returns the values of a metric by its attributes, without messaging.system; for
// histograms, the counts.
func (c *telemetry) points(name string) map[string]float64 {
	c.t.Helper()
	points := map[string]float64{}
	add := func(set attribute.Set, value float64) {
		system, _ := set.Value("messaging.system")
		assert.Equal(c.t, "postoffice", system.AsString(), name)
		rest, _ := set.Filter(func(kv attribute.KeyValue) bool { return kv.Key != "messaging.system" })
		points[rest.Encoded(attribute.DefaultEncoder())] += value
	}
	switch data := c.scrape()[name].Data.(type) {
	case nil:
	case metricdata.Sum[int64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, float64(point.Value))
		}
	case metricdata.Gauge[int64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, float64(point.Value))
		}
	case metricdata.Gauge[float64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, point.Value)
		}
	case metricdata.Histogram[int64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, float64(point.Count))
		}
	case metricdata.Histogram[float64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, float64(point.Count))
		}
	default:
		assert.Failf(c.t, "unknown kind of metric", "%s is %T", name, data)
	}
	return points
}

// attributesOf returns the attributes of a span.
func attributesOf(span sdktrace.ReadOnlySpan) map[string]any {
	attributes := map[string]any{}
	for _, kv := range span.Attributes() {
		attributes[string(kv.Key)] = kv.Value.AsInterface()
	}
	return attributes
}

// newServer starts a fake server with a topic that has a consumer and one that has none.
func newServer(t *testing.T) *postofficetest.Server {
	t.Helper()
	server := postofficetest.Start(t)
	for _, topic := range []string{"orders", "lonely"} {
		require.NoError(t, server.AddTopic(postofficetest.Topic{Name: topic, OriginHost: "http://app.test/"}))
	}
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "sink", Type: postofficetest.TypePubSub})
	require.NoError(t, err)
	return server
}

func newClient(t *testing.T, config core.Config) *core.Client {
	t.Helper()
	config.Logger = quiet
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return client
}

// request returns the publisher of a request whose messages are posted
// afterwards. It outlives the request.
func request(t *testing.T, ctx context.Context, client *core.Client) *core.Publisher { //nolint:revive // t comes first in tests
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	require.NoError(t, err)
	var p *core.Publisher
	require.NoError(t, client.Serve(nil, r, core.Options{AfterResponse: core.Memory}, func(_ http.ResponseWriter, r *http.Request) error {
		p = core.MustFromContext(r.Context())
		return nil
	}))
	return p
}
