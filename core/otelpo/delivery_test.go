package otelpo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// number is a payload.
type number struct{ ID int64 }

type handling = func(context.Context, delivery.Message[number]) error

func (c *telemetry) deliveryObserver() delivery.Observer {
	return otelpo.DeliveryObserver(c.options()...)
}

// handler returns a handler of orders with the Observer.
func (c *telemetry) handler(handle handling, options ...delivery.Option) http.Handler {
	return delivery.Handler(handle, append([]delivery.Option{
		delivery.WithTopic("orders"), delivery.WithLogger(quiet), delivery.WithObserver(c.deliveryObserver()),
	}, options...)...)
}

// inbox starts an inbox with the Observer. It stops when the test ends.
func (c *telemetry) inbox(t *testing.T, store outbox.Keeper, options delivery.InboxOptions) *delivery.Inbox {
	t.Helper()
	options.Logger, options.Observer = quiet, c.deliveryObserver()
	inbox, err := delivery.NewInbox(store, options)
	require.NoError(t, err)
	require.NoError(t, inbox.Start(t.Context()))
	t.Cleanup(func() { assert.NoError(t, inbox.Stop(context.Background())) })
	return inbox
}

// give posts a message as the server does and returns the status.
func give(t *testing.T, handler http.Handler, id int, attributes string) int {
	t.Helper()
	body := fmt.Sprintf(`{"id":%d,"attributes":{%s}}`, id, attributes)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("message-id", fmt.Sprint(id))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}

const (
	ofOrders = "messaging.destination.name=orders"
	process  = ofOrders + ",messaging.operation.name=process"
)

func TestMetricsOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		deduplicator, err := delivery.NewMemory(0)
		require.NoError(t, err)
		var again http.Handler
		handler := seen.handler(func(ctx context.Context, m delivery.Message[number]) error {
			switch m.Payload.ID {
			case 2:
				return errors.New("no stock")
			case 3:
				panic("oh")
			case 4:
				return delivery.Discard(errors.New("old"))
			case 5:
				<-ctx.Done()
				return errors.New("late")
			case 6:
				assert.Equal(t, 409, give(t, again, 6, ""))
			}
			time.Sleep(20 * time.Millisecond)
			return nil
		}, delivery.WithDeduplication(deduplicator), delivery.WithTimeout(time.Second))
		again = handler
		for id, status := range map[int]int{1: 204, 2: 500, 3: 500, 4: 204, 5: 500, 6: 204} {
			assert.Equal(t, status, give(t, handler, id, ""))
		}
		assert.Equal(t, 204, give(t, handler, 1, ""), "a copy")
		assert.Equal(t, 400, give(t, handler, 7, `"a":`))
		latest := seen.handler(func(context.Context, delivery.Message[number]) error { return nil }, delivery.WithDeduplication(deduplicator),
			delivery.WithLatest(func(delivery.Message[number]) string { return "key" }, func(m delivery.Message[number]) int64 { return m.Payload.ID }))
		assert.Equal(t, 204, give(t, latest, 12, ""))
		assert.Equal(t, 204, give(t, latest, 11, ""), "it was overtaken")
		locked := seen.handler(func(context.Context, delivery.Message[number]) error { return nil }, delivery.WithCredentials("a", "b"))
		assert.Equal(t, 401, give(t, locked, 1, ""))

		calls := map[string]float64{
			process: 3, "error.type=_OTHER," + process: 1, "error.type=panic," + process: 1,
			"error.type=discarded," + process: 1, "error.type=timeout," + process: 1,
		}
		assert.Equal(t, calls, seen.points("messaging.process.duration"))
		assert.Equal(t, calls, seen.points("messaging.client.consumed.messages"))
		const outcome = ofOrders + ",postoffice.outcome="
		assert.Equal(t, map[string]float64{
			outcome + "handled": 3, outcome + "duplicate": 1, outcome + "busy": 1, outcome + "skipped": 1,
			"error.type=_OTHER," + outcome + "failed":       1,
			"error.type=panic," + outcome + "panicked":      1,
			"error.type=discarded," + outcome + "discarded": 1,
			"error.type=timeout," + outcome + "timed_out":   1,
			"error.type=not_decoded," + outcome + "refused": 1,
			"error.type=refused," + outcome + "refused":     1,
		}, seen.points("postoffice.consumer.outcomes"))
		assert.Empty(t, seen.points("postoffice.inbox.age"), "the server does not tell it")

		duration := seen.scrape()["messaging.process.duration"]
		assert.Equal(t, "s", duration.Unit)
		for _, point := range duration.Data.(metricdata.Histogram[float64]).DataPoints {
			assert.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, point.Bounds)
			if kind, _ := point.Attributes.Value("error.type"); kind.AsString() == "timeout" {
				assert.InDelta(t, 1, point.Sum, 1e-9)
			}
		}
		assert.Equal(t, "{message}", seen.scrape()["messaging.client.consumed.messages"].Unit)
	})
}

func TestMetricsOfAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		store := memory.New()
		inbox := seen.inbox(t, store, delivery.InboxOptions{MaxAttempts: 2, MinBackoff: time.Second, Timeout: time.Second})
		called := map[int64]int{}
		handler := delivery.Queued(inbox, func(_ context.Context, m delivery.Message[number]) error {
			called[m.Payload.ID]++
			if m.Payload.ID == 3 || called[2] == 1 {
				return errors.New("no stock")
			}
			return nil
		}, delivery.WithTopic("orders"), delivery.WithName("billing"), delivery.WithLogger(quiet))
		for _, id := range []int{1, 2, 3, 3} {
			assert.Equal(t, 204, give(t, handler, id, ""))
			require.NoError(t, inbox.Flush(t.Context()))
		}
		assert.Equal(t, 400, give(t, handler, 7, `"a":`))
		time.Sleep(time.Minute)

		const billing = ofOrders + ",messaging.destination.subscription.name=billing"
		const processed = ofOrders + ",messaging.destination.subscription.name=billing,messaging.operation.name=process"
		assert.Equal(t, map[string]float64{
			billing + ",postoffice.outcome=stored": 3, billing + ",postoffice.outcome=duplicate": 1,
			billing + ",postoffice.outcome=handled": 2, billing + ",postoffice.outcome=dead": 1,
			"error.type=_OTHER," + billing + ",postoffice.outcome=failed":       3,
			"error.type=not_decoded," + billing + ",postoffice.outcome=refused": 1,
		}, seen.points("postoffice.consumer.outcomes"))
		calls := map[string]float64{processed: 2, "error.type=_OTHER," + processed: 3}
		assert.Equal(t, calls, seen.points("messaging.process.duration"))
		assert.Equal(t, calls, seen.points("messaging.client.consumed.messages"))
		assert.Equal(t, map[string]float64{billing: 2}, seen.points("postoffice.inbox.age"))
		assert.Equal(t, map[string]float64{billing: 2}, seen.points("postoffice.inbox.attempts"))
		attempts := seen.scrape()["postoffice.inbox.attempts"].Data.(metricdata.Histogram[int64]).DataPoints[0]
		assert.Equal(t, int64(3), attempts.Sum, "one and two")

		// A message that can no longer be decoded, as after a deployment.
		require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{ID: "old", Topic: "billing", Payload: []byte(`{"id":"x"}`), Attributes: []byte(`{}`)}))
		time.Sleep(10 * time.Second)
		assert.Equal(t, 2, int(seen.points("postoffice.consumer.outcomes")["error.type=not_decoded,"+billing+",postoffice.outcome=failed"]))
	})
}

// producer is a trace in a message.
const (
	producerTrace = "0af7651916cd43dd8448eb211c80319c"
	producer      = `"traceparent":"00-` + producerTrace + `-b7ad6b7169203331-01"`
)

// Spans of functions are linked to the publisher's span and are parents of the spans
// that the function begins.
func TestSpansOfAHandler(t *testing.T) {
	seen := collect(t)
	nested := func(ctx context.Context, m delivery.Message[number]) error {
		_, span := seen.tracers.Tracer("app").Start(ctx, "query")
		span.End()
		if m.Payload.ID == 2 {
			return errors.New("no stock")
		}
		return nil
	}
	for name, c := range map[string]struct {
		options    []delivery.Option
		id         int
		attributes string
		linked     bool
		parent     string // trace
		status     sdktrace.Status
	}{
		"linked":      {id: 1, attributes: producer, linked: true},
		"no trace":    {id: 1},
		"nonsense":    {id: 1, attributes: `"traceparent":"nonsense"`},
		"failed":      {id: 2, attributes: producer, linked: true, status: sdktrace.Status{Code: codes.Error, Description: "_OTHER"}},
		"in one":      {id: 1, attributes: producer, linked: true, parent: producerTrace, options: []delivery.Option{delivery.WithContext(otelpo.Extract)}},
		"in one, not": {id: 1, options: []delivery.Option{delivery.WithContext(otelpo.Extract)}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(seen.spans.Ended())
			give(t, seen.handler(nested, c.options...), c.id, c.attributes)
			spans := seen.spans.Ended()[before:]
			require.Len(t, spans, 2)
			query, span := spans[0], spans[1]
			assert.Equal(t, span.SpanContext().SpanID(), query.Parent().SpanID())
			assert.Equal(t, "process orders", span.Name())
			assert.Equal(t, trace.SpanKindConsumer, span.SpanKind())
			want := map[string]any{
				"messaging.system": "postoffice", "messaging.destination.name": "orders",
				"messaging.operation.name": "process", "messaging.operation.type": "process",
			}
			if c.status.Code == codes.Error {
				want["error.type"] = "_OTHER"
			}
			assert.Equal(t, want, attributesOf(span))
			assert.Equal(t, c.status, span.Status())
			assert.Empty(t, span.Events())
			if c.parent == "" {
				assert.False(t, span.Parent().IsValid())
			} else {
				assert.Equal(t, c.parent, span.SpanContext().TraceID().String())
				assert.Equal(t, "b7ad6b7169203331", span.Parent().SpanID().String())
			}
			if !c.linked {
				assert.Empty(t, span.Links())
				return
			}
			require.Len(t, span.Links(), 1)
			assert.Equal(t, producerTrace, span.Links()[0].SpanContext.TraceID().String())
			assert.Equal(t, "b7ad6b7169203331", span.Links()[0].SpanContext.SpanID().String())
		})
	}
}

// A message keeps its trace in an inbox, and each attempt has a span. The consumer links
// to the span of this module's publisher.
func TestSpansOfAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		inbox := seen.inbox(t, memory.New(), delivery.InboxOptions{MinBackoff: time.Second, Timeout: time.Second})
		attempts := 0
		handler := delivery.Queued(inbox, func(ctx context.Context, _ delivery.Message[number]) error {
			if attempts++; attempts == 1 {
				<-ctx.Done()
				return errors.New("late")
			}
			return nil
		}, delivery.WithTopic("orders"), delivery.WithName("billing"), delivery.WithLogger(quiet))
		var body string
		client := newClient(t, core.Config{URL: "http://postoffice.test", MetadataInPayload: true, HTTPClient: posted(&body)})
		ctx, parent := seen.tracers.Tracer("app").Start(t.Context(), "request")
		_, err := client.Publish(ctx, "orders", number{7}, otelpo.WithPropagation(ctx))
		require.NoError(t, err)
		parent.End()
		require.Contains(t, body, parent.SpanContext().TraceID().String())
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("message-id", "1")
		handler.ServeHTTP(httptest.NewRecorder(), r)
		time.Sleep(time.Minute)
		spans := seen.spans.Ended()
		require.Len(t, spans, 3)
		for i, span := range spans[1:] {
			want := map[string]any{
				"messaging.system": "postoffice", "messaging.destination.name": "orders", "messaging.destination.subscription.name": "billing",
				"messaging.operation.name": "process", "messaging.operation.type": "process", "postoffice.attempts": int64(i + 1),
			}
			if i == 0 {
				want["error.type"] = "timeout"
			}
			assert.Equal(t, want, attributesOf(span))
			require.Len(t, span.Links(), 1)
			assert.Equal(t, parent.SpanContext().SpanID(), span.Links()[0].SpanContext.SpanID())
			assert.False(t, span.Parent().IsValid())
		}
	})
}

// posted is an HTTP client that records the payload of a message.
func posted(payload *string) *http.Client {
	return &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		var body struct{ Payload json.RawMessage }
		err := json.NewDecoder(r.Body).Decode(&body)
		*payload = string(body.Payload)
		return &http.Response{StatusCode: 201, Header: http.Header{}, Body: http.NoBody, Request: r}, err
	})}
}

// Metrics work without traces and traces without metrics, and errors are reported.
func TestDeliveryObserverHalves(t *testing.T) {
	seen := collect(t)
	for _, observer := range []delivery.Observer{
		otelpo.DeliveryObserver(otelpo.WithMeterProvider(seen.meters), otelpo.WithTracerProvider(nooptrace.NewTracerProvider())),
		otelpo.DeliveryObserver(otelpo.WithMeterProvider(noopmetric.NewMeterProvider()), otelpo.WithTracerProvider(seen.tracers)),
	} {
		handler := seen.handler(func(context.Context, delivery.Message[number]) error { return nil }, delivery.WithObserver(observer))
		assert.Equal(t, 204, give(t, handler, 1, producer))
	}
	assert.Len(t, seen.spans.Ended(), 1)
	assert.Equal(t, map[string]float64{process: 1}, seen.points("messaging.process.duration"))
}

// Metrics and spans contain nothing from messages, requests or errors.
func TestNothingSecretOfDeliveriesIsTold(t *testing.T) {
	seen := collect(t)
	handler := seen.handler(func(_ context.Context, m delivery.Message[number]) error {
		if m.Payload.ID == 1 {
			panic("pan-ic")
		}
		return errors.New("err-or")
	})
	give(t, handler, 1, `"attribute":"attri-bute"`)
	give(t, handler, 8152, `"message_id":"mess-age"`)
	give(t, handler, 3, `"attribute":attri-bute`)
	var told strings.Builder
	for name := range seen.scrape() {
		fmt.Fprintf(&told, "%s %v\n", name, seen.points(name))
	}
	require.Len(t, seen.spans.Ended(), 2)
	for _, span := range seen.spans.Ended() {
		fmt.Fprintf(&told, "%s %v %v %v %v\n", span.Name(), attributesOf(span), span.Status(), span.Events(), span.Links())
	}
	assert.Contains(t, told.String(), "orders", "the test sees what was told")
	for _, secret := range []string{"pan-ic", "err-or", "attri-bute", "mess-age", "8152"} {
		assert.NotContains(t, told.String(), secret)
	}
}

// An invalid topic does not appear in metrics and spans.
func TestDeliveryTopicIsChecked(t *testing.T) {
	seen := collect(t)
	handler := seen.handler(func(context.Context, delivery.Message[number]) error { return nil }, delivery.WithTopic("orders\xff"))
	give(t, handler, 1, "")
	assert.Equal(t, map[string]float64{"messaging.operation.name=process": 1}, seen.points("messaging.process.duration"))
	assert.Equal(t, "process", seen.spans.Ended()[0].Name())
}

func TestInboxGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := collect(t)
		store := memory.New()
		inbox, err := delivery.NewInbox(store, delivery.InboxOptions{Logger: quiet})
		require.NoError(t, err)
		stop, err := otelpo.InboxGauges(inbox, append(seen.options(), otelpo.WithOutboxInterval(time.Minute))...)
		require.NoError(t, err)
		const pending, dead = "postoffice.inbox.state=pending", "postoffice.inbox.state=dead"
		assert.Equal(t, map[string]float64{"": 0}, seen.points("postoffice.inbox.oldest.age"))
		require.NoError(t, store.Insert(t.Context(), 0, record("a", outbox.Pending), record("b", outbox.Pending), record("c", outbox.Dead)))
		assert.Equal(t, map[string]float64{pending: 0, dead: 0}, seen.points("postoffice.inbox.messages"), "it was asked a moment ago")
		time.Sleep(time.Minute)
		assert.Equal(t, map[string]float64{pending: 2, dead: 1}, seen.points("postoffice.inbox.messages"))
		assert.Equal(t, map[string]float64{"": 60}, seen.points("postoffice.inbox.oldest.age"))
		assert.Equal(t, map[string]float64{"": 30}, seen.points("postoffice.inbox.bytes"))
		require.NoError(t, stop())
		assert.Empty(t, seen.points("postoffice.inbox.messages"))
	})
	_, err := otelpo.InboxGauges(nil, nil)
	require.ErrorContains(t, err, "inbox is nil")
	require.ErrorContains(t, err, "options[0] is nil")
}
