// Package adaptertest is a conformance suite for adapters: the adapters of this
// module, and adapters for other web frameworks. An adapter is a package with
// the exports
//
//	type Options = core.Options
//	func Middleware(client *core.Client, options Options) ...
//	func FromContext(c ...) *core.Publisher
//	func Mount(router ..., client *core.Client) error
//	func Register(app ..., client *core.Client, options Options) error
//	func Consume(router ..., path string, handler http.Handler) error
//
// with the types of its framework. Middleware calls [core.Client.Serve]. Mount,
// Register and Consume call [core.Client.MountRoutes], [core.Client.Register]
// and [core.MountConsumer]. The example is a complete adapter. A test of the
// adapter tells the suite how to build an app:
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
// The suite sends requests over real HTTP, and publishes to the fake server of
// [github.com/postoffice-go/postoffice/core/postofficetest]. It checks:
//
//   - Handlers find the publisher in every context of the framework, in every
//     mode of Options.AfterResponse.
//   - Messages that are posted after the response do not delay it, and Stop
//     does not lose them.
//   - Options.FlushOn is called with the status of the response. The response
//     waits for the messages, and is replaced if they are not accepted.
//   - The middleware changes nothing else: writer, errors, panics, context,
//     goroutines, and the fields of the request that net/http reads afterwards.
//   - The recovery endpoint works at the place of Mount. If the path is taken,
//     Mount returns an error.
//   - Register does all of this, and warns about consumers without a route.
//
// The suite counts goroutines, so it must not run in parallel with other tests:
// do not call t.Parallel.
package adaptertest
