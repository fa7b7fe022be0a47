package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestPublishDelivers(t *testing.T) {
	server := newServer(t, "orders")
	var seen events
	client := newTestClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	receipt, err := client.Publish(t.Context(), "orders", struct {
		ID   int       `json:"id"`
		Text string    `json:"text"`
		At   time.Time `json:"at"`
	}{7, "a </b> \" ä 😀", at}, core.WithAttributes(map[string]any{"at": at, "n": 1.5, "ok": true, "d": time.Second}))
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	assert.Empty(t, receipt.IDs)
	message := server.MessagesOf("orders")[0]
	assert.Equal(t, message.JobIDs, receipt.Jobs)
	assert.JSONEq(t, `{"id":7,"text":"a </b> \" ä 😀","at":"2026-01-02T03:04:05Z"}`, string(message.Payload))
	assert.JSONEq(t, `{"at":"2026-01-02T03:04:05Z","n":"1.5","ok":"true","d":"1s"}`, string(message.Attributes))
	delivered := seen.of("delivered")
	require.Len(t, delivered, 1)
	assert.Positive(t, delivered[0].Age)
	delivered[0].Age = 0
	assert.Equal(t, core.Event{Topic: "orders", Messages: 1, Attempts: 1}, delivered[0])
}

func TestMessageOfTopicWithoutConsumerIsReported(t *testing.T) {
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "lonely", OriginHost: "http://app.test/"}))
	var seen events
	client := newTestClient(t, core.Config{URL: server.URL(), Observer: seen.observer()})
	receipt, err := client.Publish(t.Context(), "lonely", struct{}{})
	require.NoError(t, err)
	assert.Empty(t, receipt.Jobs)
	_, err = client.PublishBulk(t.Context(), "lonely", []any{struct{}{}, struct{}{}})
	require.NoError(t, err)
	assert.Equal(t, []core.Event{{Topic: "lonely", Messages: 1}, {Topic: "lonely", Messages: 2}}, seen.of("no consumer"))
}

func TestPublishStoresWhatIsNotDelivered(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(*postofficetest.Server)
		cause string
		state outbox.State
	}{
		"refused":        {func(s *postofficetest.Server) { s.Stop() }, "connection refused", outbox.Pending},
		"internal error": {func(s *postofficetest.Server) { s.FailNext(1, 500) }, "answered 500", outbox.Pending},
		"unauthorized":   {func(s *postofficetest.Server) { s.FailNext(1, 401) }, "answered 401", outbox.Pending},
		"too many":       {func(s *postofficetest.Server) { s.FailNext(1, 429) }, "answered 429", outbox.Pending},
		"hanging":        {func(s *postofficetest.Server) { s.Hang() }, "timed out", outbox.Pending},
		"refused for good": {func(s *postofficetest.Server) { s.FailNext(1, 400) },
			"answered 400", outbox.Dead},
		"too large for a proxy": {func(s *postofficetest.Server) { s.FailNext(1, 413) }, "answered 413", outbox.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, "orders")
			test.fault(server)
			store := memory.New()
			var seen events
			client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, Observer: seen.observer(), Timeout: 50 * time.Millisecond})
			receipt, err := client.Publish(t.Context(), "orders", map[string]int{"id": 7}, core.WithAttribute("region", "north"))
			require.NoError(t, err)
			assert.Equal(t, core.Stored, receipt.State)
			require.Len(t, receipt.IDs, 1)
			id, err := uuid.Parse(receipt.IDs[0])
			require.NoError(t, err)
			assert.EqualValues(t, 7, id.Version())

			list := records(t, store)
			require.Len(t, list, 1)
			assert.Equal(t, receipt.IDs[0], list[0].ID)
			assert.Equal(t, "orders", list[0].Topic)
			assert.JSONEq(t, `{"id":7}`, string(list[0].Payload))
			assert.JSONEq(t, `{"region":"north"}`, string(list[0].Attributes))
			assert.Equal(t, test.state, list[0].State)
			assert.Contains(t, list[0].LastError, test.cause)
			event := "stored"
			if test.state == outbox.Dead {
				event = "dead"
			}
			require.Len(t, seen.of(event), 1)
			assert.ErrorContains(t, seen.of(event)[0].Err, test.cause)
			assert.Empty(t, seen.of("delivered"))
		})
	}
}

func TestWithoutOutboxFailuresAreReturned(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})

	_, err := client.Publish(t.Context(), "unknown", struct{}{})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	response, ok := errors.AsType[*core.ResponseError](err)
	require.True(t, ok)
	assert.Equal(t, &core.ResponseError{StatusCode: 400, Topic: "unknown", Method: "POST", URL: server.URL() + "/api/messages", Errors: map[string][]string{"topic": {"is invalid"}}}, response)

	server.Stop()
	_, err = client.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestNotAcceptedTellsBothCauses(t *testing.T) {
	server := newServer(t, "orders")
	server.FailNext(1, 500)
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: brokenStore{memory.New()}})
	_, err := client.Publish(t.Context(), "orders", map[string]string{"card": "4111"})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	require.ErrorIs(t, err, errBrokenStore)
	_, ok := errors.AsType[*core.ResponseError](err)
	assert.True(t, ok)
	assert.NotContains(t, err.Error(), "4111")
}

func TestCancelledRequestStillPublishes(t *testing.T) {
	server := newServer(t, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	receipt, err := client.Publish(ctx, "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)

	server.Stop()
	receipt, err = client.Publish(ctx, "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, core.Stored, receipt.State)
	assert.Len(t, records(t, store), 1)
}

func TestExpiredDeadlineStores(t *testing.T) {
	server := newServer(t, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	receipt, err := client.Publish(ctx, "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, core.Stored, receipt.State)
}

func TestOpenBreakerStoresAtOnce(t *testing.T) {
	server := newServer(t, "orders")
	server.FailWhen(func(*http.Request, []byte) (int, bool) { return 500, true })
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	for range breakerConsecutive + 5 {
		receipt, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
	}
	assert.Len(t, server.Requests(), breakerConsecutive, "the server is left alone")
	list := records(t, store)
	assert.Len(t, list, breakerConsecutive+5)
	assert.Contains(t, list[len(list)-1].LastError, "circuit breaker is open")
}

func TestUnknownTopicOfOursIsCreatedAgain(t *testing.T) {
	server := postofficetest.Start(t)
	client := newTestClient(t, core.Config{URL: server.URL(), Topics: []string{"orders", "bills"}, OriginHost: "http://app.test"})
	receipt, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	receipt, err = client.PublishBulk(t.Context(), "bills", []any{struct{}{}, struct{}{}})
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	assert.Len(t, server.MessagesOf("bills"), 2)
}

func TestScheduledMessages(t *testing.T) {
	server := newServer(t, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	soon := time.Now().Add(time.Hour)

	_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(soon))
	require.NoError(t, err)
	message := server.MessagesOf("orders")[0]
	assert.Equal(t, postofficetest.Scheduled, message.Via)
	assert.WithinDuration(t, soon, message.DeliverAt, time.Microsecond)

	_, err = client.Publish(t.Context(), "orders", struct{}{}, core.DeliverIn(2*time.Hour))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(2*time.Hour), server.MessagesOf("orders")[1].DeliverAt, time.Minute)

	for _, past := range []core.PublishOption{core.DeliverAt(time.Now().Add(-time.Hour)), core.DeliverIn(0), core.DeliverIn(-time.Hour)} {
		_, err = client.Publish(t.Context(), "orders", struct{}{}, past)
		require.NoError(t, err)
		messages := server.MessagesOf("orders")
		assert.Equal(t, postofficetest.Single, messages[len(messages)-1].Via, "what is past is delivered at once")
	}

	receipt, err := client.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}}, core.DeliverAt(soon))
	require.NoError(t, err)
	assert.Len(t, receipt.Jobs, 2)

	server.Stop()
	_, err = client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(soon))
	require.NoError(t, err)
	assert.WithinDuration(t, soon, records(t, store)[0].DeliverAt, time.Microsecond, "the outbox keeps the time")
}

func TestBadMessagesAreRefused(t *testing.T) {
	type cyclic struct{ Self *cyclic }
	loop := &cyclic{}
	loop.Self = loop
	var nothing *struct{}
	secret := "4111-1111"
	server := newServer(t, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})

	for name, test := range map[string]struct {
		topic   string
		payload any
		options []core.PublishOption
		field   string
	}{
		"empty topic":            {topic: "", payload: struct{}{}, field: "topic"},
		"blank topic":            {topic: " ", payload: struct{}{}, field: "topic"},
		"long topic":             {topic: strings.Repeat("ä", 256), payload: struct{}{}, field: "topic"},
		"NUL in topic":           {topic: "a\x00b", payload: struct{}{}, field: "topic"},
		"nil":                    {payload: nil, field: "payload"},
		"nil pointer":            {payload: nothing, field: "payload"},
		"string":                 {payload: secret, field: "payload"},
		"list":                   {payload: []string{secret}, field: "payload"},
		"number":                 {payload: 4111, field: "payload"},
		"bytes":                  {payload: []byte(`{"card":"` + secret + `"}`), field: "payload"},
		"channel":                {payload: make(chan int), field: "payload"},
		"cyclic":                 {payload: loop, field: "payload"},
		"raw garbage":            {payload: json.RawMessage(`{"card":` + secret), field: "payload"},
		"NUL in payload":         {payload: map[string]string{"card": secret + "\x00"}, field: "payload"},
		"NUL in a key":           {payload: map[string]string{secret + "\x00": ""}, field: "payload"},
		"invalid UTF-8":          {payload: map[string]string{"card": secret + "\xff"}, field: "payload"},
		"number out of range":    {payload: json.RawMessage(`{"n":1e400}`), field: "payload"},
		"8 MB":                   {payload: map[string]string{"text": strings.Repeat("x", 8_000_000)}, field: "payload"},
		"7 MB with attributes":   {payload: map[string]string{"text": strings.Repeat("x", 6_999_980)}, options: []core.PublishOption{core.WithAttribute("a", "long enough to go over")}, field: "payload"},
		"attribute without name": {payload: struct{}{}, options: []core.PublishOption{core.WithAttribute("", "x")}, field: `attributes[""]`},
		"attribute of struct":    {payload: struct{}{}, options: []core.PublishOption{core.WithAttribute("a", struct{ Card string }{secret})}, field: `attributes["a"]`},
		"attribute with NUL":     {payload: struct{}{}, options: []core.PublishOption{core.WithAttribute("a", secret+"\x00")}, field: `attributes["a"]`},
		"attribute, bad UTF-8":   {payload: struct{}{}, options: []core.PublishOption{core.WithAttribute("a", secret+"\xff")}, field: `attributes["a"]`},
		"zero time":              {payload: struct{}{}, options: []core.PublishOption{core.DeliverAt(time.Time{})}, field: "DeliverAt"},
		"year 10000":             {payload: struct{}{}, options: []core.PublishOption{core.DeliverAt(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))}, field: "DeliverAt"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.topic == "" && name != "empty topic" {
				test.topic = "orders"
			}
			_, err := client.Publish(t.Context(), test.topic, test.payload, test.options...)
			require.ErrorIs(t, err, core.ErrInvalidMessage)
			field, ok := errors.AsType[*core.FieldError](err)
			require.True(t, ok, "%v", err)
			assert.True(t, strings.HasPrefix(field.Field, test.field), "%q names %q", err, test.field)
			assert.NotContains(t, err.Error(), secret)

			for _, mode := range []core.Mode{core.Memory, core.Durable} {
				_, err = publisherIn(t, client, mode).Publish(t.Context(), test.topic, test.payload, test.options...)
				require.ErrorIs(t, err, core.ErrInvalidMessage, mode)
			}

			_, err = client.PublishBulk(t.Context(), test.topic, []any{struct{}{}, test.payload}, test.options...)
			require.ErrorIs(t, err, core.ErrInvalidMessage)
			field, ok = errors.AsType[*core.FieldError](err)
			require.True(t, ok, "%v", err)
			assert.True(t, strings.HasPrefix(field.Field, strings.Replace(test.field, "payload", "payload[1]", 1)), "%q names the payload", err)
			assert.NotContains(t, err.Error(), secret)
		})
	}
	require.NoError(t, client.Flush(t.Context()))
	assert.Empty(t, server.Requests(), "nothing of it is sent")
	assert.Empty(t, records(t, store), "nor stored")
}

func TestLaterDeliverAtReplacesAnEarlierOne(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverIn(time.Hour), core.DeliverIn(0))
	require.NoError(t, err)
	require.Len(t, server.Requests(), 1)
	assert.Equal(t, "/api/messages", server.Requests()[0].Path)
}

func TestPublishBulkOfNothing(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	receipt, err := client.PublishBulk(t.Context(), "orders", nil)
	require.NoError(t, err)
	assert.Equal(t, core.Receipt{State: core.Delivered}, receipt)
	assert.Empty(t, server.Requests())
	_, err = client.PublishBulk(t.Context(), "", nil)
	require.ErrorIs(t, err, core.ErrInvalidMessage)
}

func TestPublishBulkOfManyIsSplit(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), BulkLimit: 3000})
	payloads := numbered(10_000)
	receipt, err := client.PublishBulk(t.Context(), "orders", payloads)
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	assert.Len(t, server.Requests(), 4)
	messages := server.MessagesOf("orders")
	require.Len(t, messages, 10_000)
	for i, message := range messages {
		require.JSONEq(t, mustJSON(t, payloads[i]), string(message.Payload), "order is kept")
	}
}

func TestPublishBulkIsSplitByBytes(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), Timeout: time.Minute, BulkTimeout: time.Minute})
	payloads := []any{}
	for range 5 {
		payloads = append(payloads, map[string]string{"text": strings.Repeat("x", 3_000_000)})
	}
	_, err := client.PublishBulk(t.Context(), "orders", payloads)
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("orders"), 5)
	statuses := []int{}
	for _, request := range server.Requests() {
		statuses = append(statuses, request.Status)
	}
	assert.Equal(t, []int{201, 201, 201}, statuses)
}

func TestPublishBulkStoresTheRestOfAnOutage(t *testing.T) {
	server := newServer(t, "orders")
	sent := 0
	server.FailWhen(func(*http.Request, []byte) (int, bool) {
		sent++
		return 503, sent > 2
	})
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, BulkLimit: 10})
	receipt, err := client.PublishBulk(t.Context(), "orders", numbered(100))
	require.NoError(t, err)
	assert.Equal(t, core.Stored, receipt.State)
	assert.Len(t, server.MessagesOf("orders"), 20)
	assert.Len(t, server.Requests(), 4, "two that pass, one that fails, its quick retry, and no more")
	list := records(t, store)
	require.Len(t, list, 80)
	assert.Len(t, receipt.IDs, 80)
	for i, record := range list {
		require.JSONEq(t, mustJSON(t, numbered(100)[20+i]), string(record.Payload))
	}
}

func TestPublishBulkWithoutOutboxTellsWhatFailed(t *testing.T) {
	server := newServer(t, "orders")
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, strings.Contains(string(body), `"n":3`) })
	client := newTestClient(t, core.Config{URL: server.URL()})
	receipt, err := client.PublishBulk(t.Context(), "orders", numbered(8))
	require.ErrorIs(t, err, core.ErrNotAccepted)
	partial, ok := errors.AsType[*core.PartialError](err)
	require.True(t, ok)
	assert.Equal(t, []int{3}, partial.Indexes)
	assert.NotEmpty(t, receipt.Jobs)
	assert.Len(t, server.MessagesOf("orders"), 7)
}

func TestPublishBulkTakesNoLongerThanPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			time.Sleep(4 * time.Second)
			return &http.Response{StatusCode: 201, Header: http.Header{}, Body: http.NoBody, Request: r}, r.Context().Err()
		})}
		store := memory.New()
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: slow, Outbox: store, BulkLimit: 10})
		start := time.Now()
		receipt, err := client.PublishBulk(t.Context(), "orders", numbered(100))
		require.NoError(t, err)
		assert.Equal(t, 8*time.Second, time.Since(start))
		assert.Len(t, receipt.IDs, 80)
	})
}

func TestPublishBulkStopsSendingForACallerThatGaveUp(t *testing.T) {
	server := newServer(t, "orders")
	ctx, cancel := context.WithCancel(t.Context())
	server.FailWhen(func(*http.Request, []byte) (int, bool) { cancel(); return 0, false })
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, BulkLimit: 10})
	receipt, err := client.PublishBulk(ctx, "orders", numbered(30))
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("orders"), 10)
	assert.Len(t, receipt.IDs, 20)
}

func TestConcurrentPublishing(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), Timeout: 10 * time.Second})
	failures := make(chan error, 64)
	for i := range 64 {
		go func() {
			_, err := client.Publish(context.Background(), "orders", map[string]int{"n": i})
			failures <- err
		}()
	}
	for range 64 {
		require.NoError(t, <-failures)
	}
	payloads := payloadsOf(server, "orders")
	slices.Sort(payloads)
	assert.Len(t, slices.Compact(payloads), 64)
}

// The ids of a Receipt are the caller's, also while the message waits in memory.
func TestReceiptIsTheCallersOwn(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	receipt, err := publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{}, core.WithMessageID())
	require.NoError(t, err)
	id := receipt.IDs[0]
	receipt.IDs[0] = "changed"
	require.NoError(t, client.Flush(t.Context()))
	assert.Contains(t, string(server.MessagesOf("orders")[0].Attributes), id)
}
