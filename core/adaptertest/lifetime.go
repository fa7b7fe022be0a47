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

// lifetimeTests check publishers of concurrent requests, at the end of a
// request and after it.
var lifetimeTests = []test{
	{"ConcurrentRequests", inEachWay(concurrentRequests)},
	{"CancelledRequest", inEachWay(cancelledRequest)},
	{"AfterTheRequest", inEachWay(afterTheRequest)},
	{"NoGoroutines", inEachWay(noGoroutines)},
}

func concurrentRequests(t *testing.T, adapter Adapter, w way) {
	const requests = 64
	server := newServer(t)
	var inside atomic.Int32
	all := make(chan struct{}) // closed when all requests are in their handlers
	var mu sync.Mutex
	publishers := map[*core.Publisher]bool{}
	options := w.withAttribute("id", func(r *http.Request) any { return r.Header.Get("X-Request-Id") })
	client := w.newClient(t, server)
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
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
	assert.Len(t, publishers, requests, "each request has a different publisher")
	seen := map[string]bool{}
	for _, message := range w.delivered(t, client, server, requests) {
		id := attributesOf(t, message)["id"]
		assert.JSONEq(t, `{"id":"`+id+`"}`, string(message.Payload), "payload and attributes are of the same request")
		seen[id] = true
	}
	assert.Len(t, seen, requests)
}

func cancelledRequest(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	entered := make(chan struct{})
	handler, ended := signalEnd(adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		close(entered)
		await(t, call.Request.Context().Done(), "the request's context to end")
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		return nil
	}}))
	app := serve(t, handler)
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
	await(t, ended, "the request to end")
	w.delivered(t, client, server, 1)
}

func afterTheRequest(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	first := make(chan *core.Publisher, 1)
	options := w.withAttribute("id", func(r *http.Request) any { return r.Header.Get("X-Request-Id") })
	client := w.newClient(t, server)
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		select {
		case first <- call.Publisher():
		default:
		}
		return nil
	}}))
	app.get(t, "X-Request-Id", "first")
	for i := range 8 { // makes the framework reuse its contexts
		app.get(t, "X-Request-Id", strconv.Itoa(i))
	}
	p := <-first
	_, err := p.Publish(t.Context(), topic, map[string]int{})
	require.NoError(t, err)
	messages := w.delivered(t, client, server, 1)
	assert.Equal(t, "first", attributesOf(t, messages[0])["id"])
}

// noGoroutines checks that a request neither starts nor leaks a goroutine, even
// while its messages wait to be posted.
func noGoroutines(t *testing.T, adapter Adapter, w way) {
	client := w.newClient(t, newServer(t), noPosts)
	var before goleak.Option
	called := 0
	app := adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		called++
		if assert.NotNil(t, call.Publisher()) && w.state != core.Delivered {
			_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
			assert.NoError(t, err)
		}
		if before != nil {
			assert.NoError(t, goleak.Find(before), "in the handler")
		}
		return nil
	}})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, nil)
	app.ServeHTTP(httptest.NewRecorder(), request) // the client's first message starts its workers
	before = goleak.IgnoreCurrent()
	for range 3 {
		app.ServeHTTP(httptest.NewRecorder(), request)
		assert.NoError(t, goleak.Find(before), "after the handler")
	}
	assert.Equal(t, 4, called)
}
