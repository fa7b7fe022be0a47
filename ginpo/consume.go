package ginpo

import (
	"net/http"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash, on an engine or below a group's
// prefix. The handler, usually made by delivery.Handler, gets requests with
// any method and answers others than POST itself. The error says that the
// handler is nil, that the path does not begin with a slash, or that the router
// serves it already.
func Consume(router gin.IRouter, path string, handler http.Handler) error {
	return core.MountConsumer(path, handler, matching(router), func(path string) {
		router.Any(path, gin.WrapH(handler))
	})
}

// matching makes a function that returns the routes by which an engine serves a
// path. Groups do not tell theirs; they panic when a route is taken.
func matching(router gin.IRouter) func(path string) []string {
	engine, _ := router.(*gin.Engine)
	return func(path string) (routes []string) {
		if engine == nil {
			return nil
		}
		for _, route := range engine.Routes() {
			if core.RouteMatches(route.Path, path) {
				routes = append(routes, route.Path)
			}
		}
		return routes
	}
}

// checkConsumers looks, at the first request, whether the app has routes for
// the client's consumers: all are added by then.
func checkConsumers(app *gin.Engine, client *core.Client) gin.HandlerFunc {
	check := sync.OnceFunc(func() {
		client.CheckConsumers(func(path string) bool {
			return slices.ContainsFunc(app.Routes(), func(route gin.RouteInfo) bool {
				return route.Method == http.MethodPost && core.RouteMatches(route.Path, path)
			})
		})
	})
	return func(*gin.Context) { check() }
}
