package adaptertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
)

// lifetimeTests check publishers over the time of requests: beside each
// other, at their end and after it.
var lifetimeTests = []test{
	{"ConcurrentRequests", concurrentRequests},
	{"CancelledRequest", cancelledRequest},
	{"AfterTheRequest", afterTheRequest},
	{"NoGoroutines", noGoroutines},
}

func concurrentRequests(t *testing.T, adapter Adapter) {
	const requests = 64
	server := newServer(t)
	var inside atomic.Int32
	all := make(chan struct{}) // closed when all requests are in their handlers
	var mu sync.Mutex
	publishers := map[*core.Publisher]bool{}
	options := withAttribute("id", func(r *http.Request) any { return r.Header.Get("X-Request-Id") })
	app := serve(t, adapter.New(App{Client: newClient(t, server), Options: options, Handler: func(call Call) error {
		if inside.Add(1) == requests {
			close(all)
		}
		await(t, all, "all requests to come in")
		p := call.Publisher()
		mu.Lock()
		publishers[p] = true
		mu.Unlock()
		_, err := p.Publish(call.Request.Context(), topic, map[string]string{"id": call.Request.Header.Get("X-Request-Id")})
		assert.NoError(t, err)
		return nil
	}}))
	var clients sync.WaitGroup
	for i := range requests {
		clients.Go(func() {
			got, err := app.try(t.Context(), http.MethodGet, Path, nil, "X-Request-Id", strconv.Itoa(i))
			assert.NoError(t, err)
			assert.Equal(t, http.StatusOK, got.Status)
		})
	}
	clients.Wait()
	assert.Len(t, publishers, requests, "each request has a publisher of its own")
	messages := server.MessagesOf(topic)
	assert.Len(t, messages, requests)
	seen := map[string]bool{}
	for _, message := range messages {
		id := attributesOf(t, message)["id"]
		assert.JSONEq(t, `{"id":"`+id+`"}`, string(message.Payload), "payload and attributes are of the same request")
		seen[id] = true
	}
	assert.Len(t, seen, requests)
}

func cancelledRequest(t *testing.T, adapter Adapter) {
	server := newServer(t)
	entered, left := make(chan struct{}), make(chan struct{})
	app := serve(t, adapter.New(App{Client: newClient(t, server), Handler: func(call Call) error {
		defer close(left)
		close(entered)
		await(t, call.Request.Context().Done(), "the request's context to end")
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		return nil
	}}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-entered:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := app.try(ctx, http.MethodGet, Path, nil)
	require.ErrorIs(t, err, context.Canceled)
	<-left
	assert.Len(t, server.MessagesOf(topic), 1)
}

func afterTheRequest(t *testing.T, adapter Adapter) {
	server := newServer(t)
	first := make(chan *core.Publisher, 1)
	options := withAttribute("id", func(r *http.Request) any { return r.Header.Get("X-Request-Id") })
	app := serve(t, adapter.New(App{Client: newClient(t, server), Options: options, Handler: func(call Call) error {
		select {
		case first <- call.Publisher():
		default:
		}
		return nil
	}}))
	app.get(t, "X-Request-Id", "first")
	for i := range 8 { // so that the framework uses its contexts again
		app.get(t, "X-Request-Id", strconv.Itoa(i))
	}
	p := <-first
	_, err := p.Publish(t.Context(), topic, map[string]int{})
	require.NoError(t, err)
	messages := server.MessagesOf(topic)
	require.Len(t, messages, 1)
	assert.Equal(t, "first", attributesOf(t, messages[0])["id"])
}

func noGoroutines(t *testing.T, adapter Adapter) {
	client := newClient(t, newServer(t))
	var before goleak.Option
	called := false
	app := adapter.New(App{Client: client, Handler: func(call Call) error {
		called = true
		assert.NotNil(t, call.Publisher())
		assert.NoError(t, goleak.Find(before), "in the handler")
		return nil
	}})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, nil)
	before = goleak.IgnoreCurrent()
	app.ServeHTTP(httptest.NewRecorder(), request)
	assert.NoError(t, goleak.Find(before), "after the handler")
	assert.True(t, called)
}
