package ginpo

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// Options says how the middleware treats requests. The zero Options gives
// every request a publisher that posts at once.
type Options = core.Options

// Middleware gives every request a publisher of the client, which handlers
// get by [FromContext] or [core.FromContext]. Where middlewares of several
// clients are nested, the inner one's publisher is found. With a nil client the
// methods of the publisher return errors.
//
// With Options.FlushOn, gin.Context.Writer is wrapped in a gin.ResponseWriter
// that decides before the first byte, and at the latest when the handlers
// behind the middleware have returned, with the status that they have set. A
// middleware that recovers from panics may be on either side: in front of this
// one, as in gin.Default, the messages are dropped because of the panic, and
// behind it because of the status, unless FlushOn wants it. [gin.Recovery]
// behind it hides [net/http.ErrAbortHandler]: it leaves the status at 200, before
// version 1.12 of gin it sets 500. A middleware that answers the errors in
// gin.Context.Errors, or changes the status, belongs behind this one.
func Middleware(client *core.Client, options Options) gin.HandlerFunc {
	return func(c *gin.Context) {
		e := &exchange{ResponseWriter: c.Writer, c: c}
		_ = client.Serve(e, c.Request, options, func(w http.ResponseWriter, r *http.Request) error {
			e.hand(w, r)
			c.Set(core.ContextKey, core.MustFromContext(r.Context()))
			c.Next()
			return nil
		})
	}
}

// FromContext returns the request's publisher. Without the middleware it is
// nil; the methods of a nil publisher return [core.ErrNoPublisher]. Publish with
// c.Request.Context(): a *gin.Context has neither its deadline nor its trace,
// unless gin.Engine.ContextWithFallback is on.
func FromContext(c *gin.Context) *core.Publisher {
	var ctx context.Context = c
	if c != nil && c.Request != nil { // unlike in tests of handlers
		ctx = c.Request.Context()
	}
	p, _ := core.FromContext(ctx)
	return p
}

// Mount serves the client's routes, with and without the trailing slash, on
// an engine or below a group's prefix. The error names the path that the router
// serves already, for instance for another client with the same
// [core.Config.RecoveryPath], or says that the client is nil.
//
// The server calls what is registered with it: below a group, Config.OriginHost
// ends in the group's prefix.
func Mount(router gin.IRouter, client *core.Client) error { return client.MountRoutes(from(router)) }

// Register starts the client, installs the middleware on the engine and
// mounts the client's routes. It is to be called once for a client, before the
// app's routes are added: gin's Use applies to later routes only. The errors are
// those of [Mount] and of [core.Client.Start]; the engine is left as it was
// then.
func Register(app *gin.Engine, client *core.Client, options Options) error {
	return client.Register(from(app), options, func() { app.Use(Middleware(client, options)) })
}
