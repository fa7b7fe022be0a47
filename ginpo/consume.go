package ginpo

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash, on an engine or below a group's
// prefix. The handler, usually made by delivery.Handler, gets requests with
// any method and answers others than POST itself. It panics, as gin does, when
// the router has such a route already.
func Consume(router gin.IRouter, path string, handler http.Handler) {
	serve := gin.WrapH(handler)
	bare := strings.TrimRight(path, "/")
	router.Any(bare+"/", serve) // a redirect would not be followed
	if bare != "" {
		router.Any(bare, serve)
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
