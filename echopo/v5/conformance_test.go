package echopo_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/echopo/v5"
)

// values looks up the values of an echo.Context, which is no
// context.Context.
type values struct {
	context.Context
	c *echo.Context
}

func (v values) Value(key any) any {
	if name, ok := key.(string); ok {
		return v.c.Get(name)
	}
	return nil
}

// handle turns a handler of the suite into one of echo.
func handle(handler adaptertest.Handler) echo.HandlerFunc {
	return func(c *echo.Context) error {
		err := handler(adaptertest.Call{
			Writer:    c.Response(),
			Request:   c.Request(),
			Publisher: func() *core.Publisher { return echopo.FromContext(c) },
			Context:   values{context.Background(), c},
		})
		if status, ok := errors.AsType[adaptertest.StatusError](err); ok {
			return echo.NewHTTPError(int(status), status.Error())
		}
		return err
	}
}

// mountApp makes an app of routes.
func mountApp(app adaptertest.MountApp) (http.Handler, error) {
	e := echo.New()
	var router interface {
		echopo.Router
		Any(path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) echo.RouteInfo
	} = e
	if app.Prefix != "" {
		router = e.Group(app.Prefix)
	}
	for _, path := range app.Own {
		router.Any(path, func(c *echo.Context) error { return c.NoContent(http.StatusNoContent) })
	}
	mount := func(client *core.Client) error { return echopo.Mount(router, client) }
	if app.ByRegister {
		mount = func(client *core.Client) error { return echopo.Register(e, client, echopo.Options{}) }
	}
	for _, client := range app.Clients {
		if err := mount(client); err != nil {
			return e, err
		}
	}
	return e, nil
}

func TestConformance(t *testing.T) {
	install := map[string]func(e *echo.Echo, middleware ...echo.MiddlewareFunc){
		"ByUse": (*echo.Echo).Use,
		"ByPre": (*echo.Echo).Pre,
	}
	for name, use := range install {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, adaptertest.Adapter{
				New: func(app adaptertest.App) http.Handler {
					e := echo.New()
					if app.Before != nil {
						use(e, func(next echo.HandlerFunc) echo.HandlerFunc {
							return func(c *echo.Context) error {
								c.SetRequest(app.Before(c.Request()))
								return next(c)
							}
						})
					}
					if app.Client != nil {
						use(e, echopo.Middleware(app.Client, app.Options))
					}
					e.Any(adaptertest.Path, handle(app.Handler))
					return e
				},
				Mount: mountApp,
				Register: func(client *core.Client, options core.Options, handler adaptertest.Handler) (http.Handler, error) {
					e := echo.New()
					err := echopo.Register(e, client, options)
					e.Any(adaptertest.Path, handle(handler))
					return e, err
				},
			})
		})
	}
}
