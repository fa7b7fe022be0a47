package echopo

import (
	"net/http"
	"slices"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash, on an *echo.Echo or below the
// prefix of an *echo.Group. The handler, usually made by delivery.Handler,
// gets requests with any method and answers others than POST itself. The error
// says that the handler is nil, that the path does not begin with a slash, or
// that the router serves it already.
func Consume(router interface {
	Any(path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) []*echo.Route
}, path string, handler http.Handler) error {
	return core.MountConsumer(path, handler, matching(router), func(path string) {
		router.Any(path, echo.WrapHandler(handler))
	})
}

// checkConsumers looks, at the first request, whether the app has routes for
// the client's consumers: all are added by then.
func checkConsumers(app *echo.Echo, client *core.Client) echo.MiddlewareFunc {
	check := sync.OnceFunc(func() {
		client.CheckConsumers(func(path string) bool {
			return slices.ContainsFunc(app.Routes(), func(route *echo.Route) bool {
				return route.Method == http.MethodPost && core.RouteMatches(route.Path, path)
			})
		})
	})
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			check()
			return next(c)
		}
	}
}
