// Package echopo integrates a Postoffice client into apps built on Echo v4.
//
//	e := echo.New()
//	if err := echopo.Register(e, client, echopo.Options{}); err != nil {
//		return err
//	}
//	e.POST("/orders", func(c echo.Context) error {
//		receipt, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", order)
//		...
//	})
//
// Package echopo/v5 is for Echo v5.
//
// [Register] starts the client, installs the middleware and serves the recovery
// endpoint. An app can also call [core.Client.Start], [Middleware] and [Mount]
// separately, for example to use two clients in different groups; each client
// then needs a different Config.RecoveryPath.
//
// The app stops the client: first call [echo.Echo.Shutdown], or the Shutdown of
// your own [http.Server], after which no handler publishes, then
// [core.Client.Stop].
//
// The middleware puts a publisher into the request's context, and into the
// values of the echo.Context under [core.ContextKey]. It changes nothing else:
// handlers get the original response, errors and panics pass through, and no
// goroutine is started. It wraps the writer only with Options.FlushOn; see
// [Middleware].
//
// Do not use the middleware of package nethttp with echo.WrapMiddleware. Echo
// writes the response to an error after all middlewares, and a middleware for
// net/http does not see the error. With Options.FlushOn, it would assume the
// status 200 for a handler that returns an error, and accept its messages.
//
// Echo reuses a context when its request has ended. Code that runs later must
// not use an echo.Context. The publisher itself may be used as long as the
// client.
package echopo
