package nethttp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

// holding makes the middleware of a client with an outbox, which accepts the
// messages of requests that have succeeded.
func holding(t *testing.T) (func(http.Handler) http.Handler, *core.Client, *postofficetest.Server) {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	client, err := core.NewClient(core.Config{URL: server.URL(), Outbox: memory.New()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return nethttp.Middleware(client, nethttp.Options{FlushOn: core.Succeeded}), client, server
}

func held(t *testing.T, r *http.Request) {
	t.Helper()
	receipt, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", struct{}{})
	assert.NoError(t, err)
	assert.Equal(t, core.Held, receipt.State)
}

// TestTimeoutHandlerBehind has http.TimeoutHandler answer 503 while the handler
// still runs.
func TestTimeoutHandlerBehind(t *testing.T) {
	middleware, client, server := holding(t)
	answered, ended := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(middleware(http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		held(t, r)
		<-answered // with 503
		_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", struct{}{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		w.WriteHeader(http.StatusCreated)
	}), time.Millisecond, "timeout")))
	defer app.Close()
	response, err := app.Client().Get(app.URL)
	require.NoError(t, err)
	assert.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	close(answered)
	<-ended
	assert.Empty(t, server.Messages())
	assert.Zero(t, client.Stats().Queued)
}

// TestReverseProxyBehind sends the response of another server.
func TestReverseProxyBehind(t *testing.T) {
	middleware, _, server := holding(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, "from the backend")
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	app := httptest.NewServer(middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held(t, r)
		proxy.ServeHTTP(w, r)
	})))
	defer app.Close()
	for path, want := range map[string]int{"/": 1, "/fails": 0} {
		before := len(server.Messages())
		response, err := app.Client().Get(app.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.NoError(t, response.Body.Close())
		assert.Equal(t, "from the backend", string(body))
		assert.Len(t, server.Messages(), before+want, path)
	}
}
