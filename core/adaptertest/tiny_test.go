package adaptertest_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Router is a small web framework, such as one that this module has no adapter
// for.
type Router struct {
	routes      map[string]Handler // by "METHOD path"
	middlewares []func(Handler) Handler
}

// Handler is a handler of the framework, which answers for the error.
type Handler func(http.ResponseWriter, *http.Request) error

// HTTPError is an error of a handler: the status to answer with.
type HTTPError int

func (e HTTPError) Error() string { return fmt.Sprint(int(e), " ", http.StatusText(int(e))) }

// Use adds a middleware.
func (o *Router) Use(middleware func(Handler) Handler) {
	o.middlewares = append(o.middlewares, middleware)
}

// Add adds a route, or replaces it. No method means any; a path that ends in
// "/*" is that of everything below it, too.
func (o *Router) Add(method, path string, handler Handler) {
	if o.routes == nil {
		o.routes = map[string]Handler{}
	}
	o.routes[method+" "+path] = handler
}

// Wrap makes a handler of one of net/http.
func Wrap(handler http.Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		handler.ServeHTTP(w, r)
		return nil
	}
}

// Routes returns the methods and paths of all routes.
func (o *Router) Routes() (routes []string) {
	for route := range o.routes {
		routes = append(routes, strings.TrimSpace(route))
	}
	return routes
}

// find returns the handler of a request.
func (o *Router) find(r *http.Request) Handler {
	paths := []string{r.URL.Path}
	for i, c := range slices.Backward([]byte(r.URL.Path)) {
		if c == '/' {
			paths = append(paths, r.URL.Path[:i+1]+"*")
		}
	}
	for _, path := range paths {
		for _, method := range []string{r.Method, ""} {
			if handler := o.routes[method+" "+path]; handler != nil {
				return handler
			}
		}
	}
	return func(http.ResponseWriter, *http.Request) error { return HTTPError(http.StatusNotFound) }
}

// ServeHTTP serves a request. It answers for errors inside of the middlewares.
func (o *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, own := o.find(r), &writer{ResponseWriter: w}
	chain := func(w http.ResponseWriter, r *http.Request) error {
		err := handler(w, r)
		if err == nil || own.status != 0 {
			return nil
		}
		status := HTTPError(http.StatusInternalServerError)
		_ = errors.As(err, &status)
		http.Error(w, status.Error(), int(status))
		return nil
	}
	for _, middleware := range slices.Backward(o.middlewares) {
		chain = middleware(chain)
	}
	_ = chain(own, r)
}

// writer is the writer that all handlers of the framework get.
type writer struct {
	http.ResponseWriter
	status int // zero until it is sent
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
