package ginpo

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
)

func TestConsume(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		engine := gin.New()
		if app.Client != nil {
			engine.Use(Middleware(app.Client, Options{}))
		}
		var router gin.IRouter = engine
		if app.Prefix != "" {
			router = engine.Group(app.Prefix)
		}
		for _, path := range app.Own {
			router.Any(path, func(c *gin.Context) { c.Status(http.StatusAccepted) })
		}
		return engine, Consume(router, app.Path, app.Handler)
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
	app := gin.New()
	app.Use(checkConsumers(app, client))
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	require.NoError(t, Consume(app.Group("/consume"), "/orders", nothing))
	app.POST("/own/:topic", gin.WrapH(nothing))
	app.GET("/consume/read", gin.WrapH(nothing))
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
