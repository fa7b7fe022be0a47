package otelpo_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
)

// observers makes Observers whose metrics and spans are collected by the SDK
// and thrown away in the end: all spans, or those of one trace in ten.
func observers(b *testing.B) map[string]core.Observer {
	b.Helper()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	all := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	tenth := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1))))
	b.Cleanup(func() {
		_ = meters.Shutdown(context.Background())
		_ = all.Shutdown(context.Background())
		_ = tenth.Shutdown(context.Background())
	})
	of := func(meters metric.MeterProvider, tracers trace.TracerProvider) core.Observer {
		return otelpo.Observer(otelpo.WithMeterProvider(meters), otelpo.WithTracerProvider(tracers))
	}
	return map[string]core.Observer{
		"nothing":         {},
		"metrics":         of(meters, nooptrace.NewTracerProvider()),
		"traces":          of(noopmetric.NewMeterProvider(), all),
		"everything":      of(meters, all),
		"a tenth sampled": of(meters, tenth),
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

// BenchmarkPublish times Publish with an Observer and without, in turns, so
// that both meet the same machine, against a server in this process that
// answers at once or after a millisecond. The ratio is that of the medians of
// the single calls; "nothing" shows how far it can be trusted.
func BenchmarkPublish(b *testing.B) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if delay > 0 {
				time.Sleep(delay)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"public_id":[1]}`)
		}))
		for name, observer := range observers(b) {
			b.Run(fmt.Sprintf("server=%v/%s", delay, name), func(b *testing.B) {
				compare(b, benchClient(b, server.URL, core.Observer{}), benchClient(b, server.URL, observer))
			})
		}
		server.Close()
	}
}

// compare reports how much longer Publish takes with the second client.
func compare(b *testing.B, clients ...*core.Client) {
	b.Helper()
	payload := struct {
		ID   int    `json:"id"`
		Text string `json:"text"`
	}{7, "a message of some length, as they are"}
	times := make([][]time.Duration, len(clients))
	for b.Loop() {
		for i, client := range clients {
			began := time.Now()
			if _, err := client.Publish(b.Context(), "orders", payload); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	b.ReportMetric(median(times[1])/median(times[0]), "with/without")
}
