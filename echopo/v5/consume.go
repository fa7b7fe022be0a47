package echopo

import (
	"net/http"
	"reflect"

	"github.com/labstack/echo/v5"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash, on an *echo.Echo or below the
// prefix of an *echo.Group. The handler, usually made by delivery.Handler,
// gets requests with any method and answers others than POST itself. The error
// says that the handler is nil, that the path does not begin with a slash, or
// that the router serves it already.
func Consume(router Router, path string, handler http.Handler) error {
	return core.MountConsumer(from(router), path, handler)
}

// Router is an *echo.Echo or an *echo.Group.
type Router interface {
	Add(method, path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) echo.RouteInfo
}

// from makes core's router of echo's. Echo replaces a route that is there
// already without an error, and a group does not tell where it is, so that is
// read from its fields. The routes of other types of routers are not known.
func from(router Router) core.Router {
	native := core.Router{Native: router, Below: "*", Handle: func(method, path string, handler http.Handler) {
		router.Add(method, path, echo.WrapHandler(handler))
	}}
	app, _ := router.(*echo.Echo)
	if group, _ := router.(*echo.Group); group != nil {
		fields := reflect.ValueOf(group).Elem()
		if field := fields.FieldByName("echo"); field.IsValid() && field.Type() == reflect.TypeFor[*echo.Echo]() {
			app = (*echo.Echo)(field.UnsafePointer())
			native.Prefix = fields.FieldByName("prefix").String()
		}
	}
	if app != nil {
		native.Routes = func(*http.Request) (routes []string) {
			for _, route := range app.Router().Routes() {
				if route.Method != echo.RouteAny {
					route.Path = route.Method + " " + route.Path
				}
				routes = append(routes, route.Path)
			}
			return routes
		}
	}
	return native
}
