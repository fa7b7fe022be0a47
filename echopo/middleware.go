package echopo

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/echopo/internal/exchange"
)

// Options says how the middleware treats requests. The zero Options gives
// every request a publisher that posts at once.
type Options = core.Options

// Middleware gives every request a publisher of the client, which handlers
// get by [FromContext] or [core.FromContext]. It serves [echo.Echo.Use],
// [echo.Echo.Pre], groups and single routes. Where middlewares of several
// clients are nested, the inner one's publisher is found. With a nil client the
// methods of the publisher return errors.
//
// With Options.FlushOn, the Writer of echo's response is wrapped in one that
// decides before the first byte. If the handler returns an error, echo's error
// handler answers it after all middlewares, and its status decides, whatever
// error handler the app has. If nobody answers the error, the messages are
// dropped.
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

// FromContext returns the request's publisher. Without the middleware it is
// nil; the methods of a nil publisher return [core.ErrNoPublisher].
func FromContext(c echo.Context) *core.Publisher {
	if c == nil {
		return nil
	}
	if c.Request() == nil { // as in tests of handlers
		p, _ := c.Get(core.ContextKey).(*core.Publisher)
		return p
	}
	p, _ := core.FromContext(c.Request().Context())
	return p
}

// Mount serves the client's routes, with and without the trailing slash, on
// an *echo.Echo or below the prefix of an *echo.Group. The error names the path
// that the router serves already, for instance for another client with the same
// [core.Config.RecoveryPath], or says that the client is nil. Less precise
// routes, such as "/*", are no obstacle.
//
// The server calls what is registered with it: below a group, Config.OriginHost
// ends in the group's prefix.
func Mount(router Router, client *core.Client) error { return client.MountRoutes(from(router)) }

// Register starts the client, installs the middleware on the app and mounts
// the client's routes. It is to be called once for a client, before the app
// serves. The errors are those of [Mount] and of [core.Client.Start]; the app is
// left as it was then.
func Register(app *echo.Echo, client *core.Client, options Options) error {
	return client.Register(from(app), options, func() { app.Use(Middleware(client, options)) })
}
