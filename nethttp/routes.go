package nethttp

import (
	"net/http"
	"net/url"
)

// methods returns those that an app may have routes for.
func methods() []string {
	return []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
}

// handle serves a path by all methods. One pattern for all of them would be in
// conflict with an app's "GET /". HEAD comes with GET.
func handle(mux *http.ServeMux, path string, handler http.Handler) {
	for _, method := range methods() {
		mux.Handle(method+" "+path, handler)
	}
}

// registered is the handler that Register makes: app behind the middleware,
// and the client's routes.
type registered struct {
	app    http.Handler
	routes *http.ServeMux
	http.Handler
}

// muxes returns what tells its patterns of an app, and whether that is all of
// it.
func muxes(app http.Handler) (found []*http.ServeMux, all bool) {
	switch app := app.(type) {
	case *http.ServeMux:
		if app == nil {
			return nil, true
		}
		return []*http.ServeMux{app}, true
	case *registered:
		found, all = muxes(app.app)
		return append(found, app.routes), all
	}
	return nil, false
}

// matching makes a function that returns the patterns by which an app serves a
// path, as far as they are known.
func matching(app http.Handler) func(path string) []string {
	known, _ := muxes(app)
	return func(path string) (patterns []string) {
		for _, mux := range known {
			for _, method := range methods() {
				if pattern := patternOf(mux, method, path); pattern != "" {
					patterns = append(patterns, pattern)
				}
			}
		}
		return patterns
	}
}

// patternOf returns the pattern that matches a request; empty for none.
func patternOf(mux *http.ServeMux, method, path string) string {
	_, pattern := mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: path}})
	return pattern
}
