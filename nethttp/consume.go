package nethttp

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash. The handler, usually made by
// delivery.Handler, gets requests with any method and answers others than POST
// itself. The error says that the handler is nil, that the path does not begin
// with a slash, or that the mux serves it already.
func Consume(mux *http.ServeMux, path string, handler http.Handler) error {
	// Patterns that end in a slash match everything below, less precisely.
	precise := func(path string) []string {
		return slices.DeleteFunc(matching(mux)(path), func(pattern string) bool { return strings.HasSuffix(pattern, "/") })
	}
	return core.MountConsumer(path, handler, precise, func(path string) {
		if strings.HasSuffix(path, "/") { // a redirect from there would not be followed
			path += "{$}"
		}
		handle(mux, path, handler)
	})
}

// checkConsumers makes a function that looks, when it is first called, whether
// the app has routes for the client's consumers. Nothing is known of the
// routes of an app that is not a mux.
func checkConsumers(app http.Handler, client *core.Client) func() {
	return sync.OnceFunc(func() {
		known, all := muxes(app)
		if !all {
			return
		}
		client.CheckConsumers(func(path string) bool {
			return slices.ContainsFunc(known, func(mux *http.ServeMux) bool {
				return patternOf(mux, http.MethodPost, path) != ""
			})
		})
	})
}
