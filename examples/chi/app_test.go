package routers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/nethttp"
)

// offline is a transport without a server: accepted messages stay in the
// outbox.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("offline") }

// newClient makes a client whose outbox keeps what it accepts.
func newClient(t *testing.T, store outbox.Store) *core.Client {
	t.Helper()
	client, err := core.NewClient(core.Config{
		URL: "http://postoffice.test", OriginHost: "http://user:secret@shop.test", Outbox: store,
		HTTPClient: &http.Client{Transport: offline{}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return client
}

// stored returns the payloads in an outbox.
func stored(t *testing.T, store outbox.Store) []string {
	t.Helper()
	records, err := store.List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	payloads := []string{}
	for _, record := range records {
		payloads = append(payloads, string(record.Payload))
	}
	return payloads
}

// request serves one request with the credentials of the recovery endpoint.
func request(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.SetBasicAuth("user", "secret")
	r.Header.Set("Accept-Encoding", "gzip")
	handler.ServeHTTP(recorder, r)
	return recorder
}

// serves checks an app: what it publishes, and the recovery endpoint.
func serves(t *testing.T, app http.Handler, store outbox.Store) {
	t.Helper()
	assert.Equal(t, http.StatusAccepted, request(t, app, http.MethodPost, "/orders/7").Code)
	assert.Equal(t, []string{`{"id":"7"}`}, stored(t, store))
	for _, path := range []string{"/postoffice/messages", core.DefaultRecoveryPath} {
		response := request(t, app, http.MethodHead, path)
		assert.Equal(t, http.StatusOK, response.Code, path)
		assert.Equal(t, "application/json", response.Header().Get("Content-Type"), path)
		assert.Empty(t, response.Header().Get("Content-Encoding"), "the list is never compressed")
		assert.Equal(t, http.StatusMethodNotAllowed, request(t, app, http.MethodPost, path).Code, path)
	}
	assert.Equal(t, http.StatusNotFound, request(t, app, http.MethodGet, "/nowhere").Code)
}

func TestNewRouter(t *testing.T) {
	store := memory.New()
	consumed := 0
	app, err := newRouter(newClient(t, store), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		consumed++
		w.WriteHeader(http.StatusNoContent)
	}))
	require.NoError(t, err)
	serves(t, app, store)
	assert.Equal(t, http.StatusNoContent, request(t, app, http.MethodPost, "/consume/orders").Code)
	assert.Equal(t, 1, consumed)
}

func TestRegister(t *testing.T) {
	store := memory.New()
	server := &http.Server{}
	require.NoError(t, register(server, newClient(t, store)))
	serves(t, server.Handler, store)
}

// TestOrder has each middleware of chi on either side of the client's.
func TestOrder(t *testing.T) {
	timeout := middleware.Timeout(time.Second)
	text := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.Repeat("text", 1000))
	}
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	waits := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	answersLate := func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusOK)
	}
	tests := map[string]struct {
		middleware      func(http.Handler) http.Handler
		handler         http.HandlerFunc
		outside, inside int // the statuses
		accepted        bool
	}{
		"Recoverer":       {middleware.Recoverer, text, 200, 200, true},
		"RecovererFails":  {middleware.Recoverer, fails, 502, 502, false},
		"RecovererPanic":  {middleware.Recoverer, func(http.ResponseWriter, *http.Request) { panic("on purpose") }, 500, 500, false},
		"Compress":        {middleware.Compress(5), text, 200, 200, true},
		"CompressFails":   {middleware.Compress(5), fails, 502, 502, false},
		"Timeout":         {timeout, text, 200, 200, true},
		"TimeoutNothing":  {timeout, waits, 503, 504, false},
		"TimeoutReplaced": {timeout, answersLate, 503, 200, false},
	}
	for name, test := range tests {
		for side, want := range map[string]int{"Outside": test.outside, "Inside": test.inside} {
			t.Run(name+"/"+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := memory.New()
					client := newClient(t, store)
					r := chi.NewRouter()
					ours := nethttp.Middleware(client, nethttp.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded})
					if side == "Outside" {
						r.Use(test.middleware, ours)
					} else {
						r.Use(ours, test.middleware)
					}
					r.Get("/", func(w http.ResponseWriter, r *http.Request) {
						_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]int{})
						assert.NoError(t, err)
						test.handler(w, r)
					})
					assert.Equal(t, want, request(t, r, http.MethodGet, "/").Code)
					accepted := test.accepted || want == http.StatusOK
					assert.Equal(t, accepted, len(stored(t, store)) == 1, "accepted")
				})
			})
		}
	}
}
