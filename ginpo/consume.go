package ginpo

import (
	"net/http"

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
	return core.MountConsumer(from(router), path, handler)
}

// from makes core's router of gin's. A group does not tell the app's routes; it
// panics when one is taken.
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
