package ginpo_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/ginpo"
)

func TestConsume(t *testing.T) {
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		engine := newEngine(false)
		if app.Client != nil {
			engine.Use(ginpo.Middleware(app.Client, ginpo.Options{}))
		}
		var router gin.IRouter = engine
		if app.Prefix != "" {
			router = engine.Group(app.Prefix)
		}
		for _, path := range app.Own {
			router.Any(path, func(c *gin.Context) { c.Status(http.StatusAccepted) })
		}
		return engine, ginpo.Consume(router, app.Path, app.Handler)
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
	app := newEngine(false)
	require.NoError(t, ginpo.Register(app, client, ginpo.Options{}))
	require.NoError(t, ginpo.Consume(app.Group("/consume"), "/orders", nothing))
	app.POST("/own/:topic", gin.WrapH(nothing))
	app.GET("/consume/read", gin.WrapH(nothing))
	assert.NotContains(t, log.String(), "no route", "before the first request")
	for range 3 {
		assert.Equal(t, http.StatusOK, request(t, app, http.MethodPost, "/consume/orders").Code)
	}
	assert.Equal(t, 2, strings.Count(log.String(), "no route"), log.String())
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/forgotten")
	assert.Contains(t, log.String(), "target=http://shop:8080/consume/read", "is served to others than POST")
}
