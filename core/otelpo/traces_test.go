package otelpo_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

var everything = outbox.Selection{All: true}

func TestSpansOfACall(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	ctx, parent := seen.tracers.Tracer("app").Start(t.Context(), "handler")
	_, err := client.Publish(ctx, "orders", struct{}{})
	require.NoError(t, err)
	_, err = client.PublishBulk(ctx, "orders", []any{struct{}{}, struct{}{}})
	require.NoError(t, err)
	spans := seen.spans.Ended()
	require.Len(t, spans, 3)
	for i, want := range []struct {
		name   string
		kind   trace.SpanKind
		parent trace.SpanContext
		more   map[string]any
	}{
		{"publish orders", trace.SpanKindProducer, parent.SpanContext(), map[string]any{
			"messaging.operation.name": "publish", "messaging.operation.type": "send"}},
		{"post orders", trace.SpanKindClient, spans[2].SpanContext(), map[string]any{
			"messaging.operation.name": "post", "messaging.operation.type": "send", "messaging.batch.message_count": int64(2)}},
		{"publish orders", trace.SpanKindProducer, parent.SpanContext(), map[string]any{
			"messaging.operation.name": "publish", "messaging.operation.type": "send", "messaging.batch.message_count": int64(2)}},
	} {
		want.more["messaging.system"], want.more["messaging.destination.name"] = "postoffice", "orders"
		assert.Equal(t, want.name, spans[i].Name())
		assert.Equal(t, want.kind, spans[i].SpanKind())
		assert.Equal(t, want.parent.SpanID(), spans[i].Parent().SpanID())
		assert.Equal(t, parent.SpanContext().TraceID(), spans[i].SpanContext().TraceID())
		assert.Equal(t, want.more, attributesOf(spans[i]))
		assert.Equal(t, codes.Unset, spans[i].Status().Code)
		assert.Empty(t, spans[i].Links())
	}
	parent.End()
}

func TestSpansOfFailures(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	server.FailNext(1, 500)
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.Error(t, err)
	spans := seen.spans.Ended()
	require.Len(t, spans, 2)
	for _, span := range spans {
		assert.Equal(t, sdktrace.Status{Code: codes.Error, Description: "500"}, span.Status())
		assert.Equal(t, "500", attributesOf(span)["error.type"])
		assert.Equal(t, "send", attributesOf(span)["messaging.operation.type"])
		assert.Empty(t, span.Events())
	}
	post, call := spans[0], spans[1]
	assert.Equal(t, "post orders", post.Name())
	assert.Equal(t, trace.SpanKindClient, post.SpanKind())
	assert.Equal(t, call.SpanContext().SpanID(), post.Parent().SpanID())
	assert.False(t, post.StartTime().Before(call.StartTime()))
	assert.True(t, post.StartTime().Before(post.EndTime()), "the time that the request took")

	// With an outbox the call succeeds although the request fails.
	client = newClient(t, core.Config{URL: server.URL(), Observer: seen.observer(), Outbox: memory.New()})
	server.FailNext(1, 500)
	receipt, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	spans = seen.spans.Ended()[2:]
	require.Len(t, spans, 2)
	assert.Equal(t, codes.Error, spans[0].Status().Code)
	assert.Equal(t, codes.Unset, spans[1].Status().Code)
	assert.Equal(t, "stored", attributesOf(spans[1])["postoffice.state"])
	assert.Equal(t, "create", attributesOf(spans[1])["messaging.operation.type"])
	assert.Equal(t, receipt.IDs[0], attributesOf(spans[1])["messaging.message.id"])
}

func TestSpansOfBatchesAreLinked(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	want := map[trace.SpanID]bool{}
	for range 3 {
		_, err := request(t, t.Context(), client).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
	}
	require.NoError(t, client.Flush(t.Context()))
	linked := map[trace.SpanID]bool{}
	for _, span := range seen.spans.Ended() {
		if span.SpanKind() == trace.SpanKindProducer {
			want[span.SpanContext().SpanID()] = true
			assert.Equal(t, "queued", attributesOf(span)["postoffice.state"])
			assert.Equal(t, "create", attributesOf(span)["messaging.operation.type"])
			continue
		}
		assert.False(t, span.Parent().IsValid(), "it belongs to no call alone")
		for _, link := range span.Links() {
			linked[link.SpanContext.SpanID()] = true
		}
	}
	assert.Len(t, want, 3)
	assert.Equal(t, want, linked)
}

func TestUnsampledCallsAreNotLinked(t *testing.T) {
	server, seen := newServer(t), collect(t)
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	defer func() { assert.NoError(t, never.Shutdown(context.Background())) }()
	quietCalls := otelpo.Observer(otelpo.WithMeterProvider(seen.meters), otelpo.WithTracerProvider(never))
	quietCalls.Send = seen.observer().Send
	client := newClient(t, core.Config{URL: server.URL(), Observer: quietCalls})
	_, err := request(t, t.Context(), client).Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	require.NoError(t, client.Flush(t.Context()))
	require.Len(t, seen.spans.Ended(), 1)
	assert.Empty(t, seen.spans.Ended()[0].Links())
}
