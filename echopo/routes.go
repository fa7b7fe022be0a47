package echopo

import (
	"reflect"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
)

// matching makes a function that returns the routes by which a router serves a
// path below its prefix. Those of a router of another type are not known.
func matching(router any) func(path string) []string {
	app, host, prefix := placeOf(router)
	return func(path string) (routes []string) {
		if app == nil {
			return nil
		}
		all := app.Router()
		if own := app.Routers()[host]; own != nil {
			all = own
		}
		for _, route := range all.Routes() {
			if route.Method != echo.RouteNotFound && core.RouteMatches(route.Path, prefix+path) {
				routes = append(routes, strings.TrimPrefix(route.Path, prefix))
			}
		}
		return routes
	}
}

// placeOf returns the app that a router belongs to, its host and its prefix; no
// app if it is not known. Echo replaces a route that is there already without a
// word, and its groups do not tell where they are, so that is read from their
// fields.
func placeOf(router any) (app *echo.Echo, host, prefix string) {
	switch router := router.(type) {
	case *echo.Echo:
		return router, "", ""
	case *echo.Group:
		if router == nil {
			return nil, "", ""
		}
		group := reflect.ValueOf(router).Elem()
		field := group.FieldByName("echo")
		if !field.IsValid() || field.Type() != reflect.TypeFor[*echo.Echo]() {
			return nil, "", ""
		}
		return (*echo.Echo)(field.UnsafePointer()), group.FieldByName("host").String(), group.FieldByName("prefix").String()
	}
	return nil, "", ""
}
