package ginpo

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves the server's posts to a consumer, at the path of its target,
// with and without a trailing slash, on an engine or below a group's prefix.
// The handler, usually from delivery.Handler, receives requests with any method
// and rejects methods other than POST itself. Consume returns
// [core.ErrInvalidConfig] if the handler is nil, the path does not begin with a
// slash, or the router already serves the path.
func Consume(router gin.IRouter, path string, handler http.Handler) error {
	return core.MountConsumer(from(router), path, handler)
}

// from describes a Gin router to core. A group does not list the app's routes,
// but it panics if a route is taken.
func from(router gin.IRouter) core.Router {
	native := core.Router{Native: router, Below: "*path", Handle: func(method, path string, handler http.Handler) {
		router.Handle(method, path, gin.WrapH(handler))
	}}
	if engine, ok := router.(*gin.Engine); ok {
		native.Routes = func(*http.Request) (routes []string) {
			for _, route := range engine.Routes() {
				routes = append(routes, route.Method+" "+route.Path)
			}
			return routes
		}
	}
	return native
}
