// Package ginpo puts a Postoffice client into apps built on Gin.
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
// [Register] starts the client, installs the middleware and serves the
// recovery endpoint. An app that wants these apart calls
// [core.Client.Start], [Middleware] and [Mount] itself, for instance to give
// two clients a group each; they then need a Config.RecoveryPath each.
//
// Stopping is the app's: first [net/http.Server.Shutdown], so that no
// handler publishes any more, then [core.Client.Stop].
//
// The middleware puts a publisher into the request's context and among the
// values of the gin.Context, so that [core.FromContext] finds it in both,
// with gin.Engine.ContextWithFallback on or off, and in a gin.Context.Copy.
// It does nothing else: the writer is the one it was given, panics pass
// through, and no goroutine is started.
//
// Gin takes contexts back when requests end, so what goes on afterwards must
// not use a *gin.Context, neither to get a publisher nor as the context of a
// Publish. The publisher itself may be used as long as the client.
package ginpo
