package adaptertest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/postoffice-go/postoffice/core"
)

// Path is the path at which an app serves its handler, with any method.
const Path = "/app"

// Adapter tells the suite how to use an adapter and its framework. New,
// Mount and Register are required. They are called by the goroutine of a
// test, and what they return serves many requests at once.
type Adapter struct {
	// New makes an app with the adapter's Middleware.
	New func(app App) http.Handler

	// Mount makes an app of routes alone, and returns the first error of the
	// adapter's Mount or Register together with what the app serves then.
	Mount func(app MountApp) (http.Handler, error)

	// NoGroups tells that the framework has no groups to mount in. Mount
	// then gets no Prefix.
	NoGroups bool

	// Register makes an app by the adapter's Register, with the handler at
	// Path, and returns Register's error. It may serve nothing then.
	Register func(client *core.Client, options core.Options, handler Handler) (http.Handler, error)
}

// App is an app to make.
type App struct {
	// Client and Options are for the adapter's Middleware. Without a client
	// there is to be no middleware.
	Client  *core.Client
	Options core.Options

	// Before is to be called by a middleware of the framework that comes
	// before the adapter's; it returns the request with which to go on. Nil
	// means no such middleware.
	Before func(*http.Request) *http.Request

	// Handler serves Path.
	Handler Handler
}

// MountApp is an app of routes alone.
type MountApp struct {
	// Prefix is that of the group, such as "/group", in which everything is;
	// empty for the root of the app.
	Prefix string

	// Own are the paths of routes that the app has by itself, before those of
	// the clients. They are for any method and answer 204.
	Own []string

	// Clients are mounted one after the other by the adapter's Mount, up to
	// the first error; ByRegister has Register, with the zero Options, do it.
	Clients    []*core.Client
	ByRegister bool
}

// Handler is a handler of an app. When it returns a [StatusError], the app
// hands it on in the way of its framework, so that the answer has that
// status. Any other error tells that the connection broke; the app may do
// with it as it likes.
type Handler func(Call) error

// Call is a request as a handler of the framework sees it.
type Call struct {
	// Writer and Request are the framework's, from where its handlers get
	// them.
	Writer  http.ResponseWriter
	Request *http.Request

	// Publisher is the adapter's FromContext of the framework's context.
	Publisher func() *core.Publisher

	// Context is the framework's own context. Where that has values without
	// being a context.Context, it is one that looks them up. Nil where a
	// framework has no context but the request's.
	Context context.Context //nolint:containedctx // a Call lives as long as its request
}

// StatusError is an error of a handler: the status to answer with.
type StatusError int

// Error tells the status.
func (e StatusError) Error() string {
	return fmt.Sprintf("%d %s", int(e), http.StatusText(int(e)))
}

// Run runs the suite, each check as a subtest.
func Run(t *testing.T, adapter Adapter) {
	t.Helper()
	if adapter.New == nil || adapter.Mount == nil || adapter.Register == nil {
		t.Fatal("adaptertest: New, Mount and Register of the Adapter are required")
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
