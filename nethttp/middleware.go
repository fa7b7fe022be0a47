package nethttp

import (
	"cmp"
	"net/http"

	"github.com/postoffice-go/postoffice/core"
)

// Options configures how the middleware handles requests. With the zero
// Options, the publisher of a request posts messages within the call.
type Options = core.Options

// Middleware adds a publisher of the client to every request. Handlers get it
// from [FromRequest] or [core.FromContext]. With nested middlewares of several
// clients, they get the publisher of the inner one. If the client is nil, the
// methods of the publisher return errors.
//
// With Options.FlushOn, handlers get a [Writer], which accepts or drops the
// messages before the first byte is sent. It has exactly the optional methods
// of the original writer. net/http does not find its own writer in it:
// http.MaxBytesReader works, but does not close the connection.
func Middleware(client *core.Client, options Options) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = client.Serve(w, r, options, func(w http.ResponseWriter, r *http.Request) error {
				next.ServeHTTP(wrapped(w), r)
				return nil
			})
		})
	}
}

// FromRequest returns the request's publisher. It returns nil without the
// middleware; the methods of a nil publisher return [core.ErrNoPublisher].
func FromRequest(r *http.Request) *core.Publisher {
	if r == nil {
		return nil
	}
	p, _ := core.FromContext(r.Context())
	return p
}

// Mount serves the client's routes, with and without a trailing slash. If the
// mux already serves the path, for example for another client with the same
// [core.Config.RecoveryPath], the error names the path. A nil client is also an
// error. Less specific patterns, such as "/", do not conflict.
func Mount(mux *http.ServeMux, client *core.Client) error { return client.MountRoutes(from(mux, mux)) }

// Register starts the client and replaces the server's handler: the new one
// serves the client's routes and, behind the middleware, the previous handler.
// Set server.Handler before the call: Register wraps [http.DefaultServeMux] if
// it is nil, and a handler that is set afterwards replaces the middleware and
// the client's routes. Routes can be added to the wrapped handler at any time.
//
// Call Register once per client, before the server serves. It returns the
// errors of [core.Client.Start]. It also returns the errors of [Mount], if the
// handler is an [http.ServeMux] or created by Register. After an error the
// server is unchanged.
func Register(server *http.Server, client *core.Client, options Options) error {
	if server == nil {
		return client.Register(core.Router{}, options, nil) // returns an error
	}
	app, routes := cmp.Or[http.Handler](server.Handler, http.DefaultServeMux), http.NewServeMux()
	return client.Register(from(routes, app), options, func() {
		server.Handler = &registered{app: app, routes: routes, Handler: Middleware(client, options)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The app's requests do not pass through the mux of the routes,
			// which would clean their paths.
			if _, pattern := routes.Handler(r); pattern != "" {
				routes.ServeHTTP(w, r)
				return
			}
			app.ServeHTTP(w, r)
		}))}
	})
}

// registered is the handler that Register creates: the app behind the
// middleware, and the client's routes.
type registered struct {
	http.Handler
	app, routes http.Handler
}
