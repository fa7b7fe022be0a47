package nethttp

import (
	"cmp"
	"net/http"

	"github.com/postoffice-go/postoffice/core"
)

// Options says how the middleware treats requests. The zero Options gives
// every request a publisher that posts at once.
type Options = core.Options

// Middleware gives every request a publisher of the client, which handlers
// get by [FromRequest] or [core.FromContext]. Where middlewares of several
// clients are nested, the inner one's publisher is found. With a nil client the
// methods of the publisher return errors.
//
// With Options.FlushOn, handlers get the writer of [Writer], which decides
// before the first byte. It has exactly the optional methods of the original.
// net/http does not find its own writer in it: http.MaxBytesReader works, but
// does not close the connection.
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

// FromRequest returns the request's publisher. Without the middleware it is
// nil; the methods of a nil publisher return [core.ErrNoPublisher].
func FromRequest(r *http.Request) *core.Publisher {
	if r == nil {
		return nil
	}
	p, _ := core.FromContext(r.Context())
	return p
}

// Mount serves the client's routes, with and without the trailing slash. The
// error names the path that the mux serves already, for instance for another
// client with the same [core.Config.RecoveryPath], or says that the client is
// nil. Less precise patterns, such as "/", are no obstacle.
func Mount(mux *http.ServeMux, client *core.Client) error { return client.MountRoutes(from(mux, mux)) }

// Register starts the client and makes the server's handler serve the
// client's routes and, behind the middleware, everything that it has served
// before: [http.DefaultServeMux] if it had no handler. It is to be called
// once for a client, before the server serves. The errors are those of [Mount],
// as far as the handler is an [http.ServeMux] or made by Register, and of
// [core.Client.Start]; the server is left as it was then.
func Register(server *http.Server, client *core.Client, options Options) error {
	if server == nil {
		return client.Register(core.Router{}, options, nil) // which is an error
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

// registered is the handler that Register makes: the app behind the
// middleware, and the client's routes.
type registered struct {
	http.Handler
	app, routes http.Handler
}
