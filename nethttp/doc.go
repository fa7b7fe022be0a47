// Package nethttp puts a Postoffice client into apps built on net/http, and
// on every router that takes a func(http.Handler) http.Handler, such as chi
// or gorilla/mux.
//
//	server := &http.Server{Addr: ":8080", Handler: mux}
//	if err := nethttp.Register(server, client, nethttp.Options{}); err != nil {
//		return err
//	}
//
//	func createOrder(w http.ResponseWriter, r *http.Request) {
//		receipt, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", order)
//		...
//	}
//
// [Register] starts the client, installs the middleware and serves the
// recovery endpoint. An app that wants these apart calls
// [core.Client.Start], [Middleware] and [Mount] itself, for instance to give
// two clients each a part of the app; they then need a Config.RecoveryPath
// each.
//
// Stopping is the app's: first [http.Server.Shutdown], so that no handler
// publishes any more, then [core.Client.Stop].
//
// The middleware puts a publisher into the request's context and does
// nothing else: the ResponseWriter is the one it was given, panics pass
// through, and no goroutine is started. Only with Options.FlushOn is the writer
// wrapped, to decide about the messages before the first byte: see [Writer].
package nethttp
