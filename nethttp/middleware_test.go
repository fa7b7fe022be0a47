package nethttp_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

// newClient makes a client of a server that knows the topic "orders".
func newClient(t *testing.T) (*core.Client, *postofficetest.Server) {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	client, err := core.NewClient(core.Config{
		URL: server.URL(), OriginHost: "http://user:secret@origin.test", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return client, server
}

// request serves one request.
func request(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.SetBasicAuth("user", "secret")
	handler.ServeHTTP(recorder, r)
	return recorder
}

func TestMiddlewareInnerClientWins(t *testing.T) {
	outer, outerServer := newClient(t)
	inner, innerServer := newClient(t)
	publish := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]int{})
		assert.NoError(t, err)
	})
	handler := nethttp.Middleware(inner, nethttp.Options{})(publish)
	request(t, nethttp.Middleware(outer, nethttp.Options{})(handler), http.MethodGet, "/")
	assert.Len(t, innerServer.Messages(), 1)
	assert.Empty(t, outerServer.Messages())
}

// TestMountBesideTheAppsPatterns mounts on muxes with patterns that match the
// same paths less precisely.
func TestMountBesideTheAppsPatterns(t *testing.T) {
	client, _ := newClient(t)
	for _, pattern := range []string{"/", "GET /", "POST /", "GET /{path...}", "GET /{$}", "/postoffice/", "GET /postoffice/"} {
		t.Run(pattern, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "app") })
			require.NoError(t, nethttp.Mount(mux, client))
			for _, path := range []string{"/postoffice/messages", "/postoffice/messages/"} {
				got := request(t, mux, http.MethodGet, path)
				assert.Equal(t, http.StatusOK, got.Code)
				assert.Equal(t, "[]", got.Body.String())
				assert.Equal(t, http.StatusMethodNotAllowed, request(t, mux, http.MethodPost, path).Code)
			}
		})
	}
}

func TestMountAtTheRoot(t *testing.T) {
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test", RecoveryPath: "/", AllowOpenRecovery: true})
	require.NoError(t, err)
	mux := http.NewServeMux()
	require.NoError(t, nethttp.Mount(mux, client))
	assert.Equal(t, "[]", request(t, mux, http.MethodGet, "/").Body.String())
	require.NoError(t, client.Stop(t.Context()))
}

func TestRegisterNilHandler(t *testing.T) {
	before := http.DefaultServeMux
	http.DefaultServeMux = http.NewServeMux()
	t.Cleanup(func() { http.DefaultServeMux = before })
	client, server := newClient(t)
	http.HandleFunc("POST /default-mux", func(_ http.ResponseWriter, r *http.Request) {
		_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]int{})
		assert.NoError(t, err)
	})
	app := &http.Server{}
	require.NoError(t, nethttp.Register(app, client, nethttp.Options{}))
	assert.Equal(t, http.StatusOK, request(t, app.Handler, http.MethodPost, "/default-mux").Code)
	assert.Len(t, server.Messages(), 1)
	assert.Equal(t, "[]", request(t, app.Handler, http.MethodGet, "/postoffice/messages/").Body.String())
	assert.Equal(t, http.StatusNotFound, request(t, app.Handler, http.MethodGet, "/nowhere").Code)
}

// TestRegisterLeavesTheAppsRequestsAlone checks what a mux in front of the
// app would change: paths that are not clean, and values of patterns.
func TestRegisterLeavesTheAppsRequestsAlone(t *testing.T) {
	client, _ := newClient(t)
	var seen []string
	app := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path)
		assert.Empty(t, r.Pattern)
	})}
	require.NoError(t, nethttp.Register(app, client, nethttp.Options{}))
	paths := []string{"/a//b", "/a/../b", "/a/./b/", "/", "/postoffice", "/postoffice/messagesandmore"}
	for _, path := range paths {
		assert.Equal(t, http.StatusOK, request(t, app.Handler, http.MethodGet, path).Code, path)
	}
	assert.Equal(t, paths, seen)
}

func TestRegisterKeepsPatterns(t *testing.T) {
	client, server := newClient(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST /orders/{id}", r.Pattern)
		_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]string{"id": r.PathValue("id")})
		assert.NoError(t, err)
	})
	app := &http.Server{Handler: mux}
	require.NoError(t, nethttp.Register(app, client, nethttp.Options{}))
	assert.Equal(t, http.StatusOK, request(t, app.Handler, http.MethodPost, "/orders/7").Code)
	assert.Equal(t, http.StatusMethodNotAllowed, request(t, app.Handler, http.MethodGet, "/orders/7").Code)
	messages := server.Messages()
	require.Len(t, messages, 1)
	assert.JSONEq(t, `{"id":"7"}`, string(messages[0].Payload))
}

func TestRegisterErrorLeavesTheServer(t *testing.T) {
	client, _ := newClient(t)
	require.NoError(t, client.Stop(t.Context()))
	app := &http.Server{}
	require.ErrorIs(t, nethttp.Register(app, client, nethttp.Options{}), core.ErrClosed)
	assert.Nil(t, app.Handler)
}

// TestNilClient serves requests without a client, because the error of
// NewClient was not looked at.
func TestNilClient(t *testing.T) {
	handler := nethttp.Middleware(nil, nethttp.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]int{})
			assert.ErrorContains(t, err, "client is nil")
		}))
	assert.Equal(t, http.StatusOK, request(t, handler, http.MethodGet, "/").Code)
}

func TestNilArguments(t *testing.T) {
	assert.Nil(t, nethttp.FromRequest(nil))
	client, _ := newClient(t)
	assert.ErrorIs(t, nethttp.Register(nil, client, nethttp.Options{}), core.ErrInvalidConfig)
	assert.ErrorIs(t, nethttp.Mount(nil, client), core.ErrInvalidConfig)
	assert.ErrorIs(t, nethttp.Consume(nil, "/consume", http.NotFoundHandler()), core.ErrInvalidConfig)
}
