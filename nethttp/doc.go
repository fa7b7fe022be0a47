// Package nethttp integrates a Postoffice client into apps built on net/http,
// and into every router that accepts a func(http.Handler) http.Handler, such as
// chi or gorilla/mux.
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
// [Register] starts the client, installs the middleware and serves the recovery
// endpoint. It wraps the server's Handler, so set that first. An app can also
// call [core.Client.Start], [Middleware] and [Mount] separately, for example to
// use two clients in different parts of the app; each client then needs a
// different Config.RecoveryPath.
//
// The app stops the client: first call [http.Server.Shutdown], after which no
// handler publishes, then [core.Client.Stop].
//
// The middleware puts a publisher into the request's context and changes
// nothing else: handlers get the original ResponseWriter, panics pass through,
// and no goroutine is started. It wraps the writer only with Options.FlushOn,
// to accept or drop the messages before the first byte is sent; see [Writer].
package nethttp
