package adaptertest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/postoffice-go/postoffice/core"
)

// Path is the path at which an app serves its handler, for all methods.
const Path = "/app"

// Adapter describes an adapter and its framework to the suite. New, Mount and
// Register are required. They are called in the goroutine of a test, and the
// handlers that they return serve many requests at once.
type Adapter struct {
	// New creates an app with the adapter's Middleware.
	New func(app App) http.Handler

	// Mount creates an app that only has routes. It returns the first error of
	// the adapter's Mount or Register, together with the handler of the app.
	Mount func(app MountApp) (http.Handler, error)

	// NoGroups means that the framework has no route groups. Mount then gets no
	// Prefix.
	NoGroups bool

	// Register creates an app with the adapter's Register, with the handler at
	// Path, and returns Register's error. After an error, the app may serve
	// nothing.
	Register func(client *core.Client, options core.Options, handler Handler) (http.Handler, error)
}

// App describes an app to create.
type App struct {
	// Client and Options are for the adapter's Middleware. If Client is nil,
	// the app must not have the middleware.
	Client  *core.Client
	Options core.Options

	// Before must be called by a middleware of the framework that runs before
	// the adapter's; that middleware continues with the returned request. Nil
	// means no such middleware.
	Before func(*http.Request) *http.Request

	// Handler serves Path.
	Handler Handler
}

// MountApp describes an app that only has routes.
type MountApp struct {
	// Prefix is the prefix of the group that contains all routes, such as
	// "/group"; empty for no group.
	Prefix string

	// Own are the paths of the app's own routes, which are added before the
	// clients' routes. They accept any method and respond with 204.
	Own []string

	// Clients are mounted one after the other by the adapter's Mount, up to the
	// first error. With ByRegister, they are mounted by Register with the zero
	// Options.
	Clients    []*core.Client
	ByRegister bool
}

// Handler is a handler of an app. If it returns a [StatusError], the app must
// pass it on as its framework does with errors, so that the response has that
// status. Any other error means that the connection broke; the app may treat it
// in any way.
type Handler func(Call) error

// Call is a request as a handler of the framework sees it.
type Call struct {
	// Writer and Request are the framework's, obtained as its handlers obtain
	// them.
	Writer  http.ResponseWriter
	Request *http.Request

	// Publisher calls the adapter's FromContext with the framework's context.
	Publisher func() *core.Publisher

	// Context is the framework's own context. If that has values but is not a
	// context.Context, Context looks up its values. Nil if the framework has no
	// context but the request's.
	Context context.Context //nolint:containedctx // a Call lives as long as its request
}

// StatusError is the error of a handler that requests a response status.
type StatusError int

// Error returns the status as text.
func (e StatusError) Error() string {
	return fmt.Sprintf("%d %s", int(e), http.StatusText(int(e)))
}

// Run runs the suite. Each check is a subtest.
func Run(t *testing.T, adapter Adapter) {
	t.Helper()
	if adapter.New == nil || adapter.Mount == nil || adapter.Register == nil {
		t.Fatal("adaptertest: Adapter.New, Mount and Register are required")
	}
	groups := []struct {
		name  string
		tests []test
	}{
		{"Publisher", publisherTests},
		{"Lifetime", lifetimeTests},
		{"AfterResponse", afterResponseTests},
		{"FlushOn", flushOnTests},
		{"UnitOfWork", unitTests},
		{"Transparency", transparencyTests},
		{"HandBack", handBackTests},
		{"Mount", mountTests},
		{"Register", registerTests},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, adapter) })
			}
		})
	}
}

// test is one check of the suite.
type test struct {
	name string
	run  func(t *testing.T, adapter Adapter)
}
