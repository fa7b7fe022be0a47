package otelpo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/otelpo"
)

// roundTripFunc is a function as an http.RoundTripper.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering is an HTTP client whose requests all get the same status.
func answering(status int) *http.Client {
	return &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, err
	})}
}

func TestTraceReachesConsumers(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	state, err := trace.ParseTraceState("vendor=x")
	require.NoError(t, err)
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	ctx, parent := seen.tracers.Tracer("app").Start(ctx, "handler")
	defer parent.End()
	_, err = client.Publish(ctx, "orders", map[string]int{"id": 7}, otelpo.WithPropagation(ctx), core.WithAttribute("region", "north"))
	require.NoError(t, err)
	message := server.MessagesOf("orders")[0]
	var attributes map[string]string
	require.NoError(t, json.Unmarshal(message.Attributes, &attributes))
	assert.Equal(t, "north", attributes["region"])
	assert.Equal(t, "vendor=x", attributes["tracestate"])

	got := extracted(t, `{"id":7,"attributes":`+string(message.Attributes)+`}`)
	assert.True(t, got.IsRemote())
	assert.Equal(t, parent.SpanContext().TraceID(), got.TraceID())
	assert.Equal(t, parent.SpanContext().SpanID(), got.SpanID())
	assert.Equal(t, "vendor=x", got.TraceState().String())
}

// extracted returns the span in the context of a consumer that receives a body.
func extracted(t *testing.T, body string, options ...delivery.Option) (got trace.SpanContext) {
	t.Helper()
	handler, err := delivery.New(func(ctx context.Context, _ delivery.Message[map[string]any]) error {
		got = trace.SpanContextFromContext(ctx)
		return nil
	}, append(options, delivery.WithContext(otelpo.Extract))...)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	require.Less(t, answer.Code, 300, answer.Body.String())
	return got
}

// TestTraceInThePayload checks a trace in the metadata, and that a trace in the
// attributes takes precedence.
func TestTraceInThePayload(t *testing.T) {
	const first, second = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
	metadata := `{"_postoffice":{"traceparent":"00-` + first + `-b7ad6b7169203331-01","tracestate":"vendor=x"},"id":7`
	got := extracted(t, metadata+`,"attributes":{}}`)
	assert.True(t, got.IsRemote())
	assert.Equal(t, first, got.TraceID().String())
	assert.Equal(t, "b7ad6b7169203331", got.SpanID().String())
	assert.Equal(t, "vendor=x", got.TraceState().String())

	got = extracted(t, metadata+`,"attributes":{"traceparent":"00-`+second+`-b7ad6b7169203331-01"}}`)
	assert.Equal(t, second, got.TraceID().String())
	assert.False(t, extracted(t, metadata+`}`, delivery.WithoutMetadata()).IsValid())
}

func TestTraceIsMetadata(t *testing.T) {
	server := newServer(t)
	client := newClient(t, core.Config{URL: server.URL(), MetadataInPayload: true})
	state, err := trace.ParseTraceState("vendor=x")
	require.NoError(t, err)
	context := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(context))
	_, err = client.Publish(ctx, "orders", map[string]int{"id": 7}, otelpo.WithPropagation(ctx), core.WithAttribute("region", "north"))
	require.NoError(t, err)
	message := server.MessagesOf("orders")[0]
	assert.Equal(t, `{"region":"north"}`, string(message.Attributes))
	assert.Equal(t, `{"_postoffice":{"traceparent":"00-01000000000000000000000000000000-0200000000000000-01","tracestate":"vendor=x"},"id":7}`,
		string(message.Payload))
}

func TestNoTraceAddsNothing(t *testing.T) {
	server := newServer(t)
	client := newClient(t, core.Config{URL: server.URL()})
	_, err := client.Publish(t.Context(), "orders", struct{}{}, otelpo.WithPropagation(t.Context()))
	require.NoError(t, err)
	assert.Equal(t, "{}", string(server.MessagesOf("orders")[0].Attributes))
}

type keptKey struct{}

func TestExtractOfNothing(t *testing.T) {
	ctx := context.WithValue(t.Context(), keptKey{}, "kept")
	for _, attributes := range []map[string]string{nil, {}, {"traceparent": "nonsense"}, {"region": "north"}} {
		extracted := otelpo.Extract(ctx, attributes)
		assert.Equal(t, "kept", extracted.Value(keptKey{}))
		assert.False(t, trace.SpanContextFromContext(extracted).IsValid())
	}
}
