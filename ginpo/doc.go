// Package ginpo integrates a Postoffice client into apps built on Gin.
//
//	router := gin.New()
//	if err := ginpo.Register(router, client, ginpo.Options{}); err != nil {
//		return err
//	}
//	router.POST("/orders", func(c *gin.Context) {
//		receipt, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", order)
//		...
//	})
//
// [Register] starts the client, installs the middleware and serves the recovery
// endpoint. An app can also call [core.Client.Start], [Middleware] and [Mount]
// separately, for example to use two clients in different groups; each client
// then needs a different Config.RecoveryPath.
//
// The app stops the client: first call [net/http.Server.Shutdown], after which
// no handler publishes, then [core.Client.Stop].
//
// The middleware puts a publisher into the request's context and into the
// values of the gin.Context. [core.FromContext] finds it in both, with
// gin.Engine.ContextWithFallback on or off, and in a gin.Context.Copy. The
// middleware changes nothing else: handlers get the original writer, panics
// pass through, and no goroutine is started. It wraps the writer only with
// Options.FlushOn; see [Middleware].
//
// Gin reuses a context when its request has ended. Code that runs later must
// not use a *gin.Context, neither to get a publisher nor as the context of
// Publish. The publisher itself may be used as long as the client.
package ginpo
