package nethttp

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
)

func TestConsume(t *testing.T) {
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		mux := http.NewServeMux()
		for _, path := range app.Own {
			mux.HandleFunc(app.Prefix+path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
		}
		err := Consume(mux, app.Prefix+app.Path, app.Handler)
		if app.Client == nil {
			return mux, err
		}
		return Middleware(app.Client, Options{})(mux), err
	})
}

// TestCheckConsumers adds routes after the check was installed, as apps do.
func TestCheckConsumers(t *testing.T) {
	var log bytes.Buffer
	client, err := core.NewClient(core.Config{
		URL: "http://postoffice.test", OriginHost: "http://shop:8080", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Consumers: []core.Consumer{
			{Topic: "orders", Target: "http://shop:8080/consume/orders"},
			{Topic: "bills", Target: "http://shop:8080/own/bills"},
			{Topic: "read", Target: "http://shop:8080/consume/read"},
			{Topic: "forgotten", Target: "http://shop:8080/consume/forgotten"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	mux := http.NewServeMux()
	check := checkConsumers(mux, client)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check()
		mux.ServeHTTP(w, r)
	})
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	require.NoError(t, Consume(mux, "/consume/orders", nothing))
	mux.Handle("POST /own/{topic}", nothing)
	mux.Handle("GET /consume/read", nothing)
	assert.Empty(t, log.String(), "before the first request")
	for range 3 {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/consume/orders", nil))
		assert.Equal(t, http.StatusOK, w.Code)
	}
	assert.Equal(t, 2, strings.Count(log.String(), "level=WARN"), log.String())
	assert.Contains(t, log.String(), "http://shop:8080/consume/forgotten")
	assert.Contains(t, log.String(), "http://shop:8080/consume/read", "is served to others than POST")
}
