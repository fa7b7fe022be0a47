package otelpo_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// telling is a configuration of the SDK, which collects and then discards the data.
type telling struct {
	name    string
	meters  metric.MeterProvider
	tracers trace.TracerProvider
}

func (t telling) observer() core.Observer {
	return otelpo.Observer(otelpo.WithMeterProvider(t.meters), otelpo.WithTracerProvider(t.tracers))
}

// tellings returns configurations with metrics, traces, both, and both with one trace in
// ten sampled.
func tellings(b *testing.B) []telling {
	b.Helper()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	all := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	tenth := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1))))
	b.Cleanup(func() {
		_ = meters.Shutdown(context.Background())
		_ = all.Shutdown(context.Background())
		_ = tenth.Shutdown(context.Background())
	})
	return []telling{
		{"metrics", meters, nooptrace.NewTracerProvider()},
		{"traces", noopmetric.NewMeterProvider(), all},
		{"everything", meters, all},
		{"a tenth sampled", meters, tenth},
	}
}

func benchClient(b *testing.B, url string, observer core.Observer) *core.Client {
	b.Helper()
	client, err := core.NewClient(core.Config{URL: url, Logger: quiet, Observer: observer, Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Stop(context.Background()) })
	return client
}

// BenchmarkPublish times Publish with and without an Observer, in turns, so that both run
// under the same conditions. The ratio compares the medians of single calls; "nothing"
// shows its error. There are three servers, all in this process: one that discards all
// messages and responds at once, faster than any Postoffice, which gives the worst ratio;
// the fake server; and one that takes a millisecond.
func BenchmarkPublish(b *testing.B) {
	fake := postofficetest.Start(b, postofficetest.WithHistory(100))
	if err := fake.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://app.test/"}); err != nil {
		b.Fatal(err)
	}
	for _, server := range []struct{ name, url string }{
		{"none", discard(b, 0)}, {"fake", fake.URL()}, {"1ms", discard(b, time.Millisecond)},
	} {
		run := func(name string, observer core.Observer) {
			b.Run("server="+server.name+"/"+name, func(b *testing.B) {
				without, with := publishing(b, server.url, core.Observer{}), publishing(b, server.url, observer)
				compare(b, 1, "with/without", without, with)
			})
		}
		run("nothing", core.Observer{})
		for _, t := range tellings(b) {
			run(t.name, t.observer())
		}
	}
}

// discard starts a server that discards messages after a delay.
func discard(b *testing.B, delay time.Duration) (url string) {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if delay > 0 {
			time.Sleep(delay)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":[1]}`)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

// publishing creates a client and returns a call to its Publish.
func publishing(b *testing.B, url string, observer core.Observer) func() {
	client := benchClient(b, url, observer)
	payload := struct {
		ID   int    `json:"id"`
		Text string `json:"text"`
	}{7, "a message of some length, as they are"}
	return func() {
		if _, err := client.Publish(b.Context(), "orders", payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkObserver times the Observer's part of a Publish alone. Its baseline is the SDK:
// the same spans and measurements made by hand, for one topic that is known in advance.
func BenchmarkObserver(b *testing.B) {
	for _, t := range tellings(b) {
		b.Run(t.name, func(b *testing.B) {
			compare(b, 100, "ours/floor", observing(b, byHand(b, t)), observing(b, t.observer()))
		})
	}
}

// observing returns the Observer's calls of a successful Publish.
func observing(b *testing.B, o core.Observer) func() {
	return func() {
		ctx, published := o.Publish(b.Context(), core.PublishCall{Topic: "orders", Messages: 1})
		_, sent := o.Send(ctx, core.SendCall{Topic: "orders", Messages: 1})
		sent(nil)
		o.Delivered(core.Event{Topic: "orders", Messages: 1, Attempts: 1, Age: time.Millisecond})
		o.Published(core.Event{Topic: "orders", Messages: 1, State: core.Delivered})
		published(core.Receipt{State: core.Delivered}, nil)
	}
}

// byHand is an Observer for one topic with all attributes prepared in advance.
func byHand(b *testing.B, t telling) core.Observer {
	b.Helper()
	meter, tracer := t.meters.Meter("by hand"), t.tracers.Tracer("by hand")
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	seconds := metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
	duration, err := meter.Float64Histogram("duration", seconds)
	must(err)
	age, err := meter.Float64Histogram("age", seconds)
	must(err)
	attempts, err := meter.Int64Histogram("attempts", metric.WithExplicitBucketBoundaries(1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000))
	must(err)
	sent, err := meter.Int64Counter("sent")
	must(err)
	published, err := meter.Int64Counter("published")
	must(err)

	common := []attribute.KeyValue{attribute.String("messaging.system", "postoffice"), attribute.String("messaging.destination.name", "orders")}
	with := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(slices.Clone(common), attribute.String(key, value))...))
	}
	publish, post := with("messaging.operation.name", "publish"), with("messaging.operation.name", "post")
	ofPublish, ofPost := []metric.RecordOption{publish}, []metric.RecordOption{post}
	ofSent, ofPublished := []metric.AddOption{post}, []metric.AddOption{with("postoffice.state", "delivered")}
	ofDelivery := []metric.RecordOption{with("postoffice.from_outbox", "false")}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(append(slices.Clone(common),
		attribute.String("messaging.operation.name", "publish"), attribute.String("messaging.operation.type", "send"))...)}
	_, untraced := t.tracers.(nooptrace.TracerProvider)
	return core.Observer{
		Published: func(e core.Event) { published.Add(context.Background(), int64(e.Messages), ofPublished...) },
		Delivered: func(e core.Event) {
			sent.Add(context.Background(), int64(e.Messages), ofSent...)
			age.Record(context.Background(), e.Age.Seconds(), ofDelivery...)
			attempts.Record(context.Background(), int64(e.Attempts), ofDelivery...)
		},
		Publish: func(ctx context.Context, _ core.PublishCall) (context.Context, func(core.Receipt, error)) {
			began := time.Now()
			if untraced {
				return ctx, func(core.Receipt, error) { duration.Record(ctx, time.Since(began).Seconds(), ofPublish...) }
			}
			ctx, span := tracer.Start(ctx, "publish orders", options...)
			return ctx, func(core.Receipt, error) {
				duration.Record(ctx, time.Since(began).Seconds(), ofPublish...)
				span.End()
			}
		},
		Send: func(ctx context.Context, _ core.SendCall) (context.Context, func(error)) {
			began := time.Now()
			return ctx, func(error) { duration.Record(ctx, time.Since(began).Seconds(), ofPost...) }
		},
	}
}

// compare times two functions in turns, several calls at a time, and reports the ratio of
// their medians.
func compare(b *testing.B, calls int, unit string, first, second func()) {
	b.Helper()
	var times [2][]time.Duration
	for b.Loop() {
		for i, call := range []func(){first, second} {
			began := time.Now()
			for range calls {
				call()
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	b.ReportMetric(float64(times[1][len(times[1])/2])/float64(times[0][len(times[0])/2]), unit)
}
