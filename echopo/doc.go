// Package echopo puts a Postoffice client into apps built on Echo v4.
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
// [Register] starts the client, installs the middleware and serves the
// recovery endpoint. An app that wants these apart calls
// [core.Client.Start], [Middleware] and [Mount] itself, for instance to give
// two clients a group each; they then need a Config.RecoveryPath each.
//
// Stopping is the app's: first echo.Echo.Shutdown, so that no handler
// publishes any more, then [core.Client.Stop].
//
// The middleware puts a publisher into the request's context, and among the
// values of the echo.Context under [core.ContextKey]. It does nothing else:
// the response is the one it was given, errors and panics pass through, and
// no goroutine is started. Only with Options.FlushOn is the writer wrapped: see
// [Middleware].
//
// Use this middleware rather than echo.WrapMiddleware with that of package
// nethttp: Echo writes the response to an error after all middlewares, and one
// for net/http does not see the error. With Options.FlushOn, it would take the
// status of a handler that returns an error for 200, and accept its messages.
//
// Echo takes contexts back when requests end, so what goes on afterwards
// must not use an echo.Context. The publisher itself may be used as long as
// the client.
package echopo
