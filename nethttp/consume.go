package nethttp

import (
	"net/http"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves the server's posts to a consumer, at the path of its target,
// with and without a trailing slash. The handler, usually from
// delivery.Handler, receives requests with any method and rejects methods other
// than POST itself. Consume returns [core.ErrInvalidConfig] if the handler is
// nil, the path does not begin with a slash, or the mux already serves the
// path.
func Consume(mux *http.ServeMux, path string, handler http.Handler) error {
	return core.MountConsumer(from(mux, mux), path, handler)
}

// from describes a mux, and the routes of an app, to core. It registers one
// pattern per method, because one pattern for all methods would conflict with
// an app's "GET /".
func from(mux *http.ServeMux, app http.Handler) core.Router {
	return core.Router{
		Native: mux,
		Handle: func(method, path string, handler http.Handler) { mux.Handle(method+" "+path, handler) },
		Exact:  "{$}",
		Routes: func(r *http.Request) []string { return routesOf(app, r) },
	}
}

// routesOf returns the patterns by which an app serves a request. An app that
// is neither a mux nor created by Register may serve any path.
func routesOf(app http.Handler, r *http.Request) []string {
	if own, ok := app.(*registered); ok {
		return append(routesOf(own.app, r), routesOf(own.routes, r)...)
	}
	mux, _ := app.(*http.ServeMux)
	if mux == nil {
		return []string{"/*"}
	}
	_, pattern := mux.Handler(r)
	return []string{pattern}
}
