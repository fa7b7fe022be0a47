package ginpo

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// Options configures how the middleware handles requests. With the zero
// Options, the publisher of a request posts messages within the call.
type Options = core.Options

// Middleware adds a publisher of the client to every request. Handlers get it
// from [FromContext] or [core.FromContext]. With nested middlewares of several
// clients, they get the publisher of the inner one. If the client is nil, the
// methods of the publisher return errors.
//
// With Options.FlushOn, gin.Context.Writer is a gin.ResponseWriter that accepts
// or drops the messages before the first byte is sent. If nothing is sent, it
// does so when the handlers after this middleware have returned, with the
// status that they have set.
//
// A middleware that recovers from panics may run before or after this one. If
// it runs before, as in gin.Default, the messages are dropped because of the
// panic. If it runs after, FlushOn decides by the status. [gin.Recovery] after
// this one hides [net/http.ErrAbortHandler]: gin 1.12 leaves the status at 200,
// earlier versions set 500. A middleware that responds to gin.Context.Errors or
// changes the status must run after this one.
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

// FromContext returns the request's publisher. It returns nil without the
// middleware; the methods of a nil publisher return [core.ErrNoPublisher]. Call
// Publish with c.Request.Context(): a *gin.Context has neither its deadline nor
// its trace, unless gin.Engine.ContextWithFallback is on.
func FromContext(c *gin.Context) *core.Publisher {
	var ctx context.Context = c
	if c != nil && c.Request != nil { // a test of a handler may have no request
		ctx = c.Request.Context()
	}
	p, _ := core.FromContext(ctx)
	return p
}

// Mount serves the client's routes, with and without a trailing slash, on an
// engine or below a group's prefix. If the router already serves the path, for
// example for another client with the same [core.Config.RecoveryPath], the
// error names the path. A nil client is also an error.
//
// Below a group, Config.OriginHost must end in the group's prefix, because the
// server uses the registered address.
func Mount(router gin.IRouter, client *core.Client) error { return client.MountRoutes(from(router)) }

// Register starts the client, installs the middleware on the engine and mounts
// the client's routes. Call it once per client, before adding the app's routes,
// because Gin's Use only applies to later routes: the handlers of earlier routes
// get [core.ErrNoPublisher]. Register returns the errors of
// [Mount] and of [core.Client.Start]; after an error the engine is unchanged.
func Register(app *gin.Engine, client *core.Client, options Options) error {
	return client.Register(from(app), options, func() { app.Use(Middleware(client, options)) })
}
