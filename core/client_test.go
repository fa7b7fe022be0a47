package core_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestNewClientNamesBadFields(t *testing.T) {
	_, err := core.NewClient(core.Config{BulkLimit: 4000, Topics: []string{""}})
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	for _, field := range []string{"URL ", "BulkLimit ", "Topics[0] ", "OriginHost "} {
		assert.ErrorContains(t, err, field)
	}
}

func TestStoppedClientAcceptsNothing(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: memory.New()})
	require.NoError(t, client.Start(t.Context()))
	require.NoError(t, client.Stop(t.Context()))
	require.NoError(t, client.Stop(t.Context()), "stopping again is fine")

	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = client.PublishBulk(t.Context(), "orders", []any{struct{}{}})
	require.ErrorIs(t, err, core.ErrClosed)
	require.ErrorIs(t, client.Start(t.Context()), core.ErrClosed)
	assert.Empty(t, server.MessagesOf("orders"))
}

func TestStopBeforeStart(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: memory.New()})
	require.NoError(t, client.Stop(t.Context()))
	require.ErrorIs(t, client.Start(t.Context()), core.ErrClosed)
}

func TestStartNeedsAUsableOutbox(t *testing.T) {
	store := memory.New()
	require.NoError(t, store.Close())
	client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
	require.ErrorIs(t, client.Start(t.Context()), outbox.ErrClosed)
}

func TestStopWaitsForCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		var receipt core.Receipt
		var err error
		go func() { receipt, err = client.Publish(context.Background(), "orders", struct{}{}) }()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, client.Stop(t.Context()))
		assert.Equal(t, core.DefaultTimeout, time.Since(start))
		synctest.Wait()
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		assert.Len(t, records(t, store), 1)
	})
}

func TestStopBreaksOffTheRelayInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		insert(t, store, "orders", 10)
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store, BulkTimeout: time.Minute})
		require.NoError(t, client.Start(t.Context()))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		require.NoError(t, client.Stop(ctx))
		assert.Equal(t, 4*time.Second, time.Since(start), "with time left to give the messages back")
		for _, record := range records(t, store) {
			assert.Empty(t, record.LeaseToken, "given back")
			assert.Less(t, time.Until(record.DueAt), backoffBase)
		}
	})
}

func TestStopTellsThatItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: memory.New(), Timeout: 10 * time.Second})
		var done sync.WaitGroup
		done.Go(func() { _, _ = client.Publish(context.Background(), "orders", struct{}{}) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, client.Stop(ctx), context.DeadlineExceeded)
		done.Wait()
		require.NoError(t, client.Stop(t.Context()), "a later call may wait for the rest")
	})
}

func TestStopMeetsPublish(t *testing.T) {
	server := newServer(t, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	require.NoError(t, client.Start(t.Context()))
	var publishers, stoppers sync.WaitGroup
	accepted := make(chan int, 16)
	for range 16 {
		publishers.Go(func() {
			n := 0
			for {
				if _, err := client.Publish(context.Background(), "orders", struct{}{}); err != nil {
					assert.ErrorIs(t, err, core.ErrClosed)
					break
				}
				n++
			}
			accepted <- n
		})
	}
	require.NoError(t, server.WaitForMessages(t.Context(), "orders", 100))
	for range 3 {
		stoppers.Go(func() { assert.NoError(t, client.Stop(context.Background())) })
	}
	stoppers.Wait()
	publishers.Wait()
	close(accepted)
	sum := 0
	for n := range accepted {
		sum += n
	}
	assert.GreaterOrEqual(t, len(server.MessagesOf("orders"))+len(records(t, store)), sum)
}

func TestSeveralClientsInOneProcess(t *testing.T) {
	one, two := newServer(t, "orders"), newServer(t, "orders")
	first := newTestClient(t, core.Config{URL: one.URL()})
	second := newTestClient(t, core.Config{URL: two.URL()})
	_, err := first.Publish(t.Context(), "orders", map[string]int{"n": 1})
	require.NoError(t, err)
	require.NoError(t, first.Stop(t.Context()))
	_, err = second.Publish(t.Context(), "orders", map[string]int{"n": 2})
	require.NoError(t, err)
	assert.Equal(t, []string{`{"n":1}`}, payloadsOf(one, "orders"))
	assert.Equal(t, []string{`{"n":2}`}, payloadsOf(two, "orders"))
}

func TestBreakerIsLoggedAndObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states []core.BreakerState
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: hanging},
			Observer: core.Observer{Breaker: func(state core.BreakerState) { states = append(states, state) }},
		})
		for range breakerConsecutive {
			_, _ = client.Publish(t.Context(), "orders", struct{}{})
		}
		assert.Equal(t, []core.BreakerState{core.BreakerOpen}, states)
	})
}

func TestPublisherOfARequest(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	calls := 0
	publisher, end := begin(t, client, core.Options{Attributes: func(r *http.Request) map[string]any {
		calls++
		return map[string]any{"request": r.Method, "region": "south"}
	}})
	assert.Zero(t, calls, "not before something is published")
	ctx := t.Context()
	_, err := publisher.Publish(ctx, "orders", struct{}{}, core.WithAttribute("region", "north"))
	require.NoError(t, err)
	_, err = publisher.PublishBulk(ctx, "orders", []any{struct{}{}})
	require.NoError(t, err)
	end(200)
	assert.Equal(t, 1, calls)
	assert.JSONEq(t, `{"request":"GET","region":"north"}`, string(server.MessagesOf("orders")[0].Attributes))
	assert.JSONEq(t, `{"request":"GET","region":"south"}`, string(server.MessagesOf("orders")[1].Attributes))
}

func TestContextWithoutPublisher(t *testing.T) {
	publisher, ok := core.FromContext(t.Context())
	assert.False(t, ok)
	_, err := publisher.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrNoPublisher)
	_, err = publisher.PublishBulk(t.Context(), "orders", nil)
	require.ErrorIs(t, err, core.ErrNoPublisher)
	assert.PanicsWithError(t, core.ErrNoPublisher.Error(), func() { core.MustFromContext(t.Context()) })
}

// frameworkContext keeps values by name, as *gin.Context does.
type frameworkContext struct {
	context.Context
	values map[string]any
}

func (c frameworkContext) Value(key any) any {
	name, _ := key.(string)
	return c.values[name]
}

func TestFrameworksContextIsLookedInto(t *testing.T) {
	want := &core.Publisher{}
	got, ok := core.FromContext(frameworkContext{t.Context(), map[string]any{core.ContextKey: want}})
	assert.True(t, ok)
	assert.Same(t, want, got)
}

func TestRoutes(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, RecoveryPath: "/outbox"})
	var mounted []string
	require.NoError(t, client.MountRoutes(core.Router{Native: t, Below: "*", Handle: func(method, path string, _ http.Handler) {
		if method == http.MethodGet {
			mounted = append(mounted, path)
		}
	}}))
	assert.Equal(t, []string{"/outbox/*", "/outbox"}, mounted)
}
