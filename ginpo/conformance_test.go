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

// mountApp makes an app of routes.
func mountApp(engine *gin.Engine, app adaptertest.MountApp) (http.Handler, error) {
	var router gin.IRouter = engine
	if app.Prefix != "" {
		router = engine.Group(app.Prefix)
	}
	for _, path := range app.Own {
		router.Any(path, func(c *gin.Context) { c.Status(http.StatusNoContent) })
	}
	mount := func(client *core.Client) error { return ginpo.Mount(router, client) }
	if app.ByRegister {
		mount = func(client *core.Client) error { return ginpo.Register(engine, client, ginpo.Options{}) }
	}
	for _, client := range app.Clients {
		if err := mount(client); err != nil {
			return engine, err
		}
	}
	return engine, nil
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
				Mount: func(app adaptertest.MountApp) (http.Handler, error) { return mountApp(newEngine(fallback), app) },
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
