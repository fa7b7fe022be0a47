package nethttp

import (
	"net/http"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash. The handler, usually made by
// delivery.Handler, gets requests with any method and answers others than POST
// itself. The error says that the handler is nil, that the path does not begin
// with a slash, or that the mux serves it already.
func Consume(mux *http.ServeMux, path string, handler http.Handler) error {
	return core.MountConsumer(from(mux, mux), path, handler)
}

// from makes core's router of a mux, beside the routes of an app. One pattern
// for all methods would be in conflict with an app's "GET /", so there is one
// for each.
func from(mux *http.ServeMux, app http.Handler) core.Router {
	return core.Router{
		Native: mux,
		Handle: func(method, path string, handler http.Handler) { mux.Handle(method+" "+path, handler) },
		Exact:  "{$}",
		Routes: func(r *http.Request) []string { return routesOf(app, r) },
	}
}

// routesOf returns the patterns by which an app serves a request. One that is
// neither a mux nor made by Register may serve any.
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
