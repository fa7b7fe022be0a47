package otelpo_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestMetricsOfPublishing(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	_, err = client.PublishBulk(t.Context(), "lonely", []any{struct{}{}, struct{}{}})
	require.NoError(t, err)
	_, err = request(t, t.Context(), client).Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	require.NoError(t, client.Flush(t.Context()))

	const orders, lonely = "messaging.destination.name=orders", "messaging.destination.name=lonely"
	assert.Equal(t, map[string]float64{orders + ",postoffice.state=delivered": 1, lonely + ",postoffice.state=delivered": 2, orders + ",postoffice.state=queued": 1},
		seen.points("postoffice.published.messages"))
	assert.Equal(t, map[string]float64{orders + ",messaging.operation.name=post": 2, lonely + ",messaging.operation.name=post": 2},
		seen.points("messaging.client.sent.messages"))
	assert.Equal(t, map[string]float64{
		orders + ",messaging.operation.name=publish": 2, orders + ",messaging.operation.name=post": 2,
		lonely + ",messaging.operation.name=publish": 1, lonely + ",messaging.operation.name=post": 1,
	}, seen.points("messaging.client.operation.duration"))
	assert.Equal(t, map[string]float64{lonely: 2}, seen.points("postoffice.no_consumer.messages"))
	assert.Equal(t, map[string]float64{orders + ",postoffice.from_outbox=false": 2, lonely + ",postoffice.from_outbox=false": 1},
		seen.points("postoffice.delivery.age"))
	assert.Equal(t, seen.points("postoffice.delivery.age"), seen.points("postoffice.delivery.attempts"))

	duration := seen.scrape()["messaging.client.operation.duration"]
	assert.Equal(t, "s", duration.Unit)
	for _, point := range duration.Data.(metricdata.Histogram[float64]).DataPoints {
		assert.Positive(t, point.Sum)
		assert.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, point.Bounds)
	}
}

func TestMetricsOfFailures(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer(), Outbox: memory.New()})
	publish := func(status int) {
		server.FailNext(1, status)
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
	}
	publish(400)
	publish(401)
	publish(500)
	_, err := client.Publish(t.Context(), "orders\xff", struct{}{})
	require.ErrorIs(t, err, core.ErrInvalidMessage)

	const orders = "messaging.destination.name=orders"
	assert.Equal(t, map[string]float64{
		"error.type=400," + orders + ",messaging.operation.name=post,postoffice.failure.class=permanent": 1,
		"error.type=401," + orders + ",messaging.operation.name=post,postoffice.failure.class=config":    1,
		"error.type=500," + orders + ",messaging.operation.name=post,postoffice.failure.class=transient": 1,
	}, seen.points("messaging.client.sent.messages"))
	assert.Equal(t, map[string]float64{orders: 1}, seen.points("postoffice.dead.messages"))
	assert.Equal(t, map[string]float64{orders: 2}, seen.points("postoffice.stored.messages"))
	assert.Empty(t, seen.points("postoffice.spilled.messages"))
	assert.Contains(t, seen.points("messaging.client.operation.duration"), "error.type=invalid_message,messaging.operation.name=publish",
		"what is no topic is not told")

	for range 4 { // with the one before, it opens the circuit breaker
		publish(500)
	}
	_, err = client.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{orders: 2}, seen.points("postoffice.spilled.messages"))
	assert.Equal(t, map[string]float64{"postoffice.breaker.state=open": 1}, seen.points("postoffice.breaker.changes"))
	discarded, err := client.Outbox().Discard(t.Context(), everything)
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"": float64(discarded)}, seen.points("postoffice.discarded.messages"))
}

func TestMetricsOfSetupAndRecovery(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{
		URL: server.URL(), Observer: seen.observer(), Outbox: memory.New(), AllowOpenRecovery: true,
		Topics: []string{"orders", "bills"}, OriginHost: "http://app.test",
		Consumers: []core.Consumer{{Topic: "bills", Target: "http://user:secret@app.test/bills"}},
	})
	_, err := client.Setup(t.Context())
	require.NoError(t, err)
	const bills, orders = "messaging.destination.name=bills", "messaging.destination.name=orders"
	assert.Equal(t, map[string]float64{
		bills + ",postoffice.setup.kind=topic,postoffice.setup.status=created":    1,
		bills + ",postoffice.setup.kind=consumer,postoffice.setup.status=created": 1,
		orders + ",postoffice.setup.kind=topic,postoffice.setup.status=exists":    1,
	}, seen.points("postoffice.setup.results"))

	_, err = client.Publish(t.Context(), "bills", struct{}{}, core.WithDedupKey("7"))
	require.NoError(t, err)
	list := httptest.NewRecorder()
	client.RecoveryHandler().ServeHTTP(list, httptest.NewRequest(http.MethodGet, "/postoffice/messages/", nil))
	require.Equal(t, 200, list.Code, list.Body.String())
	_, after, _ := strings.Cut(list.Body.String(), `"id":"`)
	id, _, _ := strings.Cut(after, `"`)
	deleted := httptest.NewRecorder()
	client.RecoveryHandler().ServeHTTP(deleted, httptest.NewRequest(http.MethodDelete, "/postoffice/messages/"+id+"/", nil))
	require.Equal(t, 204, deleted.Code)
	for _, name := range []string{"postoffice.recovery.lists", "postoffice.recovery.listed.messages", "postoffice.recovery.deleted.messages"} {
		assert.Equal(t, map[string]float64{"": 1}, seen.points(name), name)
	}
}

// TestNothingSecretIsTold makes everything fail, with marks in all secret values, and
// searches metrics, spans and errors for the marks.
func TestNothingSecretIsTold(t *testing.T) {
	server, seen := newServer(t), collect(t)
	address := strings.Replace(server.URL(), "http://", "http://us-er:pass-word@", 1)
	client := newClient(t, core.Config{
		URL: address, Observer: seen.observer(), Outbox: memory.New(),
		Topics: []string{"orders"}, OriginHost: "http://us-er:pass-word@app.test",
		Consumers: []core.Consumer{{Topic: "orders", Target: "http://us-er:pass-word@app.test/orders"}},
	})
	stop, err := otelpo.Gauges(client, seen.options()...)
	require.NoError(t, err)
	defer func() { assert.NoError(t, stop()) }()
	_, _ = client.Setup(t.Context())
	payload := map[string]string{"text": "pay-load"}
	for _, status := range []int{201, 400, 401, 413, 500} {
		if status != 201 {
			server.FailNext(1, status)
		}
		_, err := client.Publish(t.Context(), "orders", payload, core.WithAttribute("attribute", "attri-bute"))
		require.NoError(t, err)
	}
	_, err = client.Publish(t.Context(), "orders", func() { _ = payload }, core.WithAttribute("attribute", "attri-bute"))
	require.Error(t, err)
	server.Stop()
	_, err = client.PublishBulk(t.Context(), "orders", []any{payload, payload})
	require.NoError(t, err)

	var told strings.Builder
	fmt.Fprintf(&told, "%+v", seen.scrape())
	for name := range seen.scrape() {
		fmt.Fprintf(&told, "%s %v\n", name, seen.points(name))
	}
	spans := seen.spans.Ended()
	require.NotEmpty(t, spans)
	for _, span := range spans {
		fmt.Fprintf(&told, "%s %v %v %v %v\n", span.Name(), attributesOf(span), span.Status(), span.Events(), span.Links())
	}
	assert.Contains(t, told.String(), "orders", "the test sees what was told")
	for _, secret := range []string{"us-er", "pass-word", "pay-load", "attri-bute"} {
		assert.NotContains(t, told.String(), secret)
	}
}

func TestDependencies(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/postoffice-go/postoffice/core/otelpo").Output()
	require.NoError(t, err)
	assert.Contains(t, string(output), "go.opentelemetry.io/otel/metric")
	assert.NotContains(t, string(output), "go.opentelemetry.io/otel/sdk", "the SDK is the app's choice")
}

func TestErrorTypeOfAnOpenBreaker(t *testing.T) {
	server, seen := newServer(t), collect(t)
	client := newClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	server.FailNext(5, 500)
	for range 5 {
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.Error(t, err)
	}
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrBreakerOpen)
	assert.Equal(t, 1, int(seen.points("messaging.client.operation.duration")["error.type=breaker_open,messaging.destination.name=orders,messaging.operation.name=publish"]))
}
