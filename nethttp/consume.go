package nethttp

import (
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/postoffice-go/postoffice/core"
)

// Consume serves what the server posts to a consumer, at the path of its
// target, with and without the trailing slash. The handler, usually made by
// delivery.Handler, gets requests with any method and answers others than POST
// itself. It panics, as [http.ServeMux.Handle] does, when the mux has such a
// route already.
func Consume(mux *http.ServeMux, path string, handler http.Handler) {
	// A pattern for each method: see Mount.
	methods := []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
	bare := strings.TrimRight(path, "/")
	for _, method := range methods {
		mux.Handle(method+" "+bare+"/{$}", handler) // a redirect would not be followed
		if bare != "" {
			mux.Handle(method+" "+bare, handler)
		}
	}
}

// checkConsumers makes a function that looks, when it is first called, whether
// the app has routes for the client's consumers. Nothing is known of the
// routes of an app that is not a mux.
func checkConsumers(app http.Handler, client *core.Client) func() {
	return sync.OnceFunc(func() {
		mux, ok := app.(*http.ServeMux)
		if !ok {
			return
		}
		client.CheckConsumers(func(path string) bool {
			_, pattern := mux.Handler(&http.Request{Method: http.MethodPost, URL: &url.URL{Path: path}})
			return pattern != ""
		})
	})
}
