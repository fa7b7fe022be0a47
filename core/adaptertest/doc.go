// Package adaptertest is the suite that every adapter passes, those of this
// module and those for other web frameworks alike. An adapter is a package
// with the exports
//
//	type Options = core.Options
//	func Middleware(client *core.Client, options Options) ...
//	func FromContext(c ...) *core.Publisher
//	func Mount(router ..., client *core.Client) error
//	func Register(app ..., client *core.Client, options Options) error
//	func Consume(router ..., path string, handler http.Handler) error
//
// in the types of its framework. Middleware calls [core.Client.Serve], and the
// others [core.Client.MountRoutes], [core.Client.Register] and
// [core.MountConsumer]; the example is a whole adapter. It tells the suite how
// to build an app:
//
//	func TestConformance(t *testing.T) {
//		adaptertest.Run(t, adaptertest.Adapter{
//			New: func(app adaptertest.App) http.Handler {
//				router := framework.New()
//				if app.Client != nil {
//					router.Use(adapter.Middleware(app.Client, app.Options))
//				}
//				router.Any(adaptertest.Path, ...) // calls app.Handler
//				return router
//			},
//			...
//		})
//	}
//
// The suite sends requests over real HTTP, and publishes to the fake server
// of [github.com/postoffice-go/postoffice/core/postofficetest]. It checks
// that handlers find the publisher wherever the framework lets them look, in
// every mode of Options.AfterResponse; that what is posted after the response
// does not delay it and is not lost by Stop; that Options.FlushOn is asked with
// the status of the response, and that the response waits for the messages and
// is replaced if they are not accepted; that the middleware leaves everything else as it is
// without it (writer, errors, panics, context, goroutines, and what net/http
// finds on its own request afterwards); that the recovery endpoint works where
// Mount puts it, unless the path is taken, which is an error; and that Register
// does all of that and warns of consumers without a route.
//
// The suite counts goroutines, so it must not run beside other tests: not
// after t.Parallel.
package adaptertest
