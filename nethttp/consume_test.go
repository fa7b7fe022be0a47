package nethttp_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

func TestConsume(t *testing.T) {
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		mux := http.NewServeMux()
		for _, path := range app.Own {
			mux.HandleFunc(app.Prefix+path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
		}
		err := nethttp.Consume(mux, app.Prefix+app.Path, app.Handler)
		if app.Client == nil {
			return mux, err
		}
		return nethttp.Middleware(app.Client, nethttp.Options{})(mux), err
	})
}

// TestConsumersWithoutARoute adds routes after Register, as apps do.
func TestConsumersWithoutARoute(t *testing.T) {
	server := postofficetest.Start(t)
	var log bytes.Buffer
	client, err := core.NewClient(core.Config{
		URL: server.URL(), OriginHost: "http://user:secret@shop:8080", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Topics: []string{"orders"},
		Consumers: []core.Consumer{
			{Topic: "orders", Target: "http://shop:8080/consume/orders"},
			{Topic: "orders", Target: "http://shop:8080/own/bills"},
			{Topic: "orders", Target: "http://shop:8080/below/bills"},
			{Topic: "orders", Target: "http://shop:8080/consume/read"},
			{Topic: "orders", Target: "http://shop:8080/consume/forgotten"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	app := &http.Server{Handler: mux}
	require.NoError(t, nethttp.Register(app, client, nethttp.Options{}))
	require.NoError(t, nethttp.Consume(mux, "/consume/orders", nothing))
	mux.Handle("POST /own/{topic}", nothing)
	mux.Handle("/below/", nothing)
	mux.Handle("GET /consume/read", nothing)
	assert.NotContains(t, log.String(), "no route", "before the first request")
	for range 3 {
		assert.Equal(t, http.StatusOK, request(t, app.Handler, http.MethodPost, "/consume/orders").Code)
	}
	assert.Equal(t, 2, strings.Count(log.String(), "no route"), log.String())
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/forgotten")
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/read", "is served to others than POST")
}

// TestConsumersOfAnUnknownApp has an app that does not tell its routes: it may
// serve every consumer.
func TestConsumersOfAnUnknownApp(t *testing.T) {
	var log bytes.Buffer
	client, err := core.NewClient(core.Config{
		URL: postofficetest.Start(t).URL(), OriginHost: "http://shop:8080", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Consumers: []core.Consumer{{Topic: "orders", Target: "http://shop:8080/consume/orders"}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	app := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	require.NoError(t, nethttp.Register(app, client, nethttp.Options{}))
	assert.Equal(t, http.StatusOK, request(t, app.Handler, http.MethodPost, "/consume/orders").Code)
	assert.NotContains(t, log.String(), "no route")
}
