package echopo_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/echopo/v5"
)

func TestConsume(t *testing.T) {
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		e := echo.New()
		if app.Client != nil {
			e.Use(echopo.Middleware(app.Client, echopo.Options{}))
		}
		for _, path := range app.Own {
			e.Any(app.Prefix+path, func(c *echo.Context) error { return c.NoContent(http.StatusAccepted) })
		}
		if app.Prefix != "" {
			return e, echopo.Consume(e.Group(app.Prefix), app.Path, app.Handler)
		}
		return e, echopo.Consume(e, app.Path, app.Handler)
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
			{Topic: "orders", Target: "http://shop:8080/consume/read"},
			{Topic: "orders", Target: "http://shop:8080/consume/forgotten"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	app := echo.New()
	require.NoError(t, echopo.Register(app, client, echopo.Options{}))
	require.NoError(t, echopo.Consume(app.Group("/consume"), "/orders", nothing))
	app.POST("/own/:topic", echo.WrapHandler(nothing))
	app.GET("/consume/read", echo.WrapHandler(nothing))
	assert.NotContains(t, log.String(), "no route", "before the first request")
	for range 3 {
		assert.Equal(t, http.StatusOK, request(t, app, http.MethodPost, "/consume/orders").Code)
	}
	assert.Equal(t, 2, strings.Count(log.String(), "no route"), log.String())
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/forgotten")
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/read", "is served to others than POST")
}
