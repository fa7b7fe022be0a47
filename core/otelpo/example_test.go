package otelpo_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func Example() {
	ctx := context.Background()
	server := postofficetest.NewServer()
	defer server.Close()
	if err := server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://app.test/"}); err != nil {
		panic(err)
	}
	reader := sdkmetric.NewManualReader() // an app has an exporter instead
	spans := tracetest.NewSpanRecorder()
	own := core.Observer{NoConsumer: func(e core.Event) { fmt.Println("nobody consumes", e.Topic) }}
	client, err := core.NewClient(core.Config{
		URL:    server.URL(),
		Logger: quiet,
		Observer: core.JoinObservers(own, otelpo.Observer(
			otelpo.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
			otelpo.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))),
		)),
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = client.Stop(ctx) }()
	if _, err := client.Publish(ctx, "orders", map[string]int{"id": 7}); err != nil {
		panic(err)
	}

	for _, span := range spans.Ended() {
		fmt.Println("span:", span.Name())
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		panic(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "postoffice.no_consumer.messages" {
			fmt.Println(m.Name+":", sum.DataPoints[0].Value)
		}
	}
	// Output:
	// nobody consumes orders
	// span: publish orders
	// postoffice.no_consumer.messages: 1
}
