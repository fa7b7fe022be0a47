package nethttp

import (
	"context"
	"net/http"
	"strings"

	"github.com/postoffice-go/postoffice/core"
)

// Options says how the middleware treats requests. The zero Options gives
// every request a publisher that posts at once.
type Options = core.Options

// Middleware gives every request a publisher of the client, which handlers
// get by [FromRequest] or [core.FromContext]. Where middlewares of several
// clients are nested, the inner one's publisher is found.
//
// With Options.FlushOn the ResponseWriter is wrapped, because net/http tells
// nobody the status; the wrapper has exactly the optional methods of the
// writer, such as Flush, Hijack and ReadFrom, and Unwrap beside them.
func Middleware(client *core.Client, options Options) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, end := client.BeginRequest(r.Context(), r, options)
			defer end()
			status := func() int { return 0 }
			if options.FlushOn != nil {
				w, status = watch(w)
			}
			handled := r.WithContext(ctx)
			defer core.HandBack(r, handled)
			next.ServeHTTP(w, handled)
			core.EndRequest(ctx, status()) // not when the handler has panicked
		})
	}
}

// FromRequest returns the request's publisher. Without the middleware it is
// nil; the methods of a nil publisher return [core.ErrNoPublisher].
func FromRequest(r *http.Request) *core.Publisher {
	p, _ := core.FromContext(r.Context())
	return p
}

// Mount serves the client's routes, with and without the trailing slash. It
// panics, as [http.ServeMux.Handle] does, when the mux has such a route
// already.
func Mount(mux *http.ServeMux, client *core.Client) {
	// A pattern for each method, because one for all of them is in conflict
	// with an app's "GET /". HEAD comes with GET.
	methods := []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
	for _, route := range client.Routes() {
		for _, method := range methods {
			mux.Handle(method+" "+route.Path, route.Handler)
			if bare := strings.TrimSuffix(route.Path, "/"); bare != "" {
				mux.Handle(method+" "+bare, route.Handler) // no redirect to the path above
			}
		}
	}
}

// Register starts the client and makes the server's handler serve the
// client's routes and, behind the middleware, everything that it has served
// before: [http.DefaultServeMux] if it had no handler. It is to be called
// once, before the server serves. The error is that of [core.Client.Start];
// the server is left as it was then.
func Register(server *http.Server, client *core.Client, options Options) error {
	if err := client.Start(context.Background()); err != nil {
		return err
	}
	var app http.Handler = http.DefaultServeMux
	if server.Handler != nil {
		app = server.Handler
	}
	routes := http.NewServeMux()
	Mount(routes, client)
	check := checkConsumers(app, client)
	server.Handler = Middleware(client, options)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check()
		// The app's requests do not pass through the mux of the routes,
		// which would clean their paths.
		if _, pattern := routes.Handler(r); pattern != "" {
			routes.ServeHTTP(w, r)
			return
		}
		app.ServeHTTP(w, r)
	}))
	return nil
}
