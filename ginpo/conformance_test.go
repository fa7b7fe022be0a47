package ginpo_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/ginpo"
)

// newEngine makes an engine that prints nothing and, unlike gin.Default,
// does not recover.
func newEngine(fallback bool) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.ContextWithFallback = fallback
	return engine
}

// handle turns a handler of the suite into one of gin.
func handle(handler adaptertest.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		err := handler(adaptertest.Call{
			Writer:    c.Writer,
			Request:   c.Request,
			Publisher: func() *core.Publisher { return ginpo.FromContext(c) },
			Context:   c,
		})
		if status, ok := errors.AsType[adaptertest.StatusError](err); ok {
			_ = c.AbortWithError(int(status), err)
		}
	}
}

func TestConformance(t *testing.T) {
	for name, fallback := range map[string]bool{"WithFallback": true, "WithoutFallback": false} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, adaptertest.Adapter{
				New: func(app adaptertest.App) http.Handler {
					engine := newEngine(fallback)
					if app.Before != nil {
						engine.Use(func(c *gin.Context) { c.Request = app.Before(c.Request) })
					}
					if app.Client != nil {
						engine.Use(ginpo.Middleware(app.Client, app.Options))
					}
					engine.Any(adaptertest.Path, handle(app.Handler))
					return engine
				},
				Mount: func(prefix string, client *core.Client) http.Handler {
					engine := newEngine(fallback)
					if prefix == "" {
						ginpo.Mount(engine, client)
					} else {
						ginpo.Mount(engine.Group(prefix), client)
					}
					return engine
				},
				Register: func(client *core.Client, options core.Options, handler adaptertest.Handler) (http.Handler, error) {
					engine := newEngine(fallback)
					err := ginpo.Register(engine, client, options)
					engine.Any(adaptertest.Path, handle(handler))
					return engine, err
				},
			})
		})
	}
}
