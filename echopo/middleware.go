package echopo

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/echopo/internal/exchange"
)

// Options configures how the middleware handles requests. With the zero
// Options, the publisher of a request posts messages within the call.
type Options = core.Options

// Middleware adds a publisher of the client to every request. Handlers get it
// from [FromContext] or [core.FromContext]. It can be used with
// [echo.Echo.Use], [echo.Echo.Pre], groups and single routes. With nested
// middlewares of several clients, handlers get the publisher of the inner one.
// If the client is nil, the methods of the publisher return errors.
//
// With Options.FlushOn, the Writer of Echo's response accepts or drops the
// messages before the first byte is sent. If the handler returns an error,
// Echo's error handler responds after all middlewares, and FlushOn decides by
// the status of its response, with any error handler of the app. Without such a
// response, the messages are dropped.
func Middleware(client *core.Client, options Options) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			e := exchange.New(c.Response().Writer, c)
			defer e.Returned()
			return client.Serve(e, c.Request(), options, func(w http.ResponseWriter, r *http.Request) error {
				wrap(c, e, w)
				c.SetRequest(r)
				c.Set(core.ContextKey, core.MustFromContext(r.Context()))
				return next(c)
			})
		}
	}
}

// FromContext returns the request's publisher. It returns nil without the
// middleware; the methods of a nil publisher return [core.ErrNoPublisher].
func FromContext(c echo.Context) *core.Publisher {
	if c == nil {
		return nil
	}
	if c.Request() == nil { // a test of a handler may have no request
		p, _ := c.Get(core.ContextKey).(*core.Publisher)
		return p
	}
	p, _ := core.FromContext(c.Request().Context())
	return p
}

// Mount serves the client's routes, with and without a trailing slash, on an
// *echo.Echo or below the prefix of an *echo.Group. If the router already
// serves the path, for example for another client with the same
// [core.Config.RecoveryPath], the error names the path. A nil client is also an
// error. Less specific routes, such as "/*", do not conflict.
//
// Below a group, Config.OriginHost must end in the group's prefix, because the
// server uses the registered address.
func Mount(router Router, client *core.Client) error { return client.MountRoutes(from(router)) }

// Register starts the client, installs the middleware on the app and mounts the
// client's routes. Call it once per client, before the app serves. It returns
// the errors of [Mount] and of [core.Client.Start]; after an error the app is
// unchanged.
func Register(app *echo.Echo, client *core.Client, options Options) error {
	return client.Register(from(app), options, func() { app.Use(Middleware(client, options)) })
}
