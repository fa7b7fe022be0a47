package echopo

import (
	"cmp"
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves the server's posts to a consumer, at the path of its target,
// with and without a trailing slash, on an *echo.Echo or below the prefix of an
// *echo.Group. The handler, usually from delivery.Handler, receives requests
// with any method and rejects methods other than POST itself. Consume returns
// [core.ErrInvalidConfig] if the handler is nil, the path does not begin with a
// slash, or the router already serves the path.
func Consume(router Router, path string, handler http.Handler) error {
	return core.MountConsumer(from(router), path, handler)
}

// Router is an *echo.Echo or an *echo.Group.
type Router interface {
	Add(method, path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) *echo.Route
}

// from describes an Echo router to core. Echo silently replaces an existing
// route, so its routes are needed to detect conflicts. A group does not export
// its prefix, which is therefore read from its fields. The routes of other
// router types are unknown.
func from(router Router) core.Router {
	app, _ := router.(*echo.Echo)
	host, prefix := "", ""
	if group, _ := router.(*echo.Group); group != nil {
		fields := reflect.ValueOf(group).Elem()
		if field := fields.FieldByName("echo"); field.IsValid() && field.Type() == reflect.TypeFor[*echo.Echo]() {
			app = (*echo.Echo)(field.UnsafePointer())
			host, prefix = fields.FieldByName("host").String(), fields.FieldByName("prefix").String()
		}
	}
	native := core.Router{Native: router, Below: "*", Prefix: prefix, Handle: func(method, path string, handler http.Handler) {
		router.Add(method, path, echo.WrapHandler(handler))
	}}
	if app != nil {
		native.Routes = func(*http.Request) (routes []string) {
			for _, route := range cmp.Or(app.Routers()[host], app.Router()).Routes() {
				routes = append(routes, route.Method+" "+route.Path)
			}
			return routes
		}
	}
	return native
}
