package core_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// someRouter is a router that has routes already and takes more.
type someRouter struct {
	core.Router
	added []string
}

func newRouter(prefix, exact string, routes ...string) *someRouter {
	r := &someRouter{}
	r.Router = core.Router{
		Native: r, Below: "*", Exact: exact, Prefix: prefix,
		Routes: func(*http.Request) []string { return routes },
		Handle: func(method, path string, _ http.Handler) { r.added = append(r.added, method+" "+path) },
	}
	return r
}

// TestRoutesInTheWay has patterns in the notations of several routers.
func TestRoutesInTheWay(t *testing.T) {
	client, _ := serving(t)
	for name, test := range map[string]struct {
		prefix, exact string
		routes        []string
		taken         bool
	}{
		"Nothing":         {},
		"NoPattern":       {routes: []string{""}},
		"Same":            {routes: []string{"/postoffice/messages/"}, taken: true},
		"SameWithMethod":  {routes: []string{"POST /postoffice/messages/"}, taken: true},
		"SameWithHost":    {routes: []string{"GET app.test/postoffice/messages"}, taken: true},
		"OnlyHost":        {routes: []string{"app.test/postoffice/messages"}, taken: true},
		"OtherMethod":     {routes: []string{"PROPFIND /postoffice/messages/"}},
		"Below":           {routes: []string{"GET /postoffice/messages/:id"}, taken: true},
		"BelowInBraces":   {routes: []string{"GET /postoffice/messages/{id}"}, taken: true},
		"AllBelow":        {routes: []string{"/postoffice/messages/{rest...}"}, taken: true},
		"Beside":          {routes: []string{"/postoffice/messages/more/of/it", "/postoffice/message", "/postoffice/messagess"}},
		"CatchAll":        {routes: []string{"/*", "/*any", "/{any...}"}},
		"LessPrecise":     {routes: []string{"GET /postoffice/*", "/:a/:b/:c", "/{a}/messages/{c}"}},
		"Subtree":         {exact: "{$}", routes: []string{"/postoffice/messages/"}, taken: true},
		"SubtreeAbove":    {exact: "{$}", routes: []string{"/", "GET /postoffice/"}},
		"ExactAbove":      {exact: "{$}", routes: []string{"/{$}", "/postoffice/{$}"}},
		"InTheGroup":      {prefix: "/group", routes: []string{"GET /group/postoffice/messages"}, taken: true},
		"BelowInTheGroup": {prefix: "/group", routes: []string{"GET /group/postoffice/messages/:id"}, taken: true},
		"OutsideTheGroup": {prefix: "/group", routes: []string{"GET /postoffice/messages/", "GET /groups/postoffice/messages/"}},
	} {
		t.Run(name, func(t *testing.T) {
			router := newRouter(test.prefix, test.exact, test.routes...)
			err := client.MountRoutes(router.Router)
			if test.taken {
				require.ErrorIs(t, err, core.ErrInvalidConfig)
				assert.ErrorContains(t, err, test.routes[0])
				assert.Empty(t, router.added)
				return
			}
			require.NoError(t, err)
			for _, added := range []string{"GET /postoffice/messages/*", "HEAD /postoffice/messages", "DELETE /postoffice/messages/*"} {
				assert.Contains(t, router.added, added)
			}
		})
	}
}

// TestConsumersInTheWay has patterns at the path of a consumer.
func TestConsumersInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		prefix, exact, route string
		taken                bool
	}{
		"Same":            {route: "POST /consume/orders", taken: true},
		"WithSlash":       {route: "GET /consume/orders/", taken: true},
		"Exact":           {exact: "{$}", route: "/consume/orders/{$}", taken: true},
		"Subtree":         {exact: "{$}", route: "/consume/orders/"},
		"Named":           {route: "POST /consume/:topic"},
		"InTheGroup":      {prefix: "/group", route: "POST /group/consume/orders", taken: true},
		"OutsideTheGroup": {prefix: "/group", route: "POST /consume/orders"},
	} {
		t.Run(name, func(t *testing.T) {
			router := newRouter(test.prefix, test.exact, test.route)
			err := core.MountConsumer(router.Router, "/consume/orders", http.NotFoundHandler())
			if test.taken {
				require.ErrorIs(t, err, core.ErrInvalidConfig)
				assert.ErrorContains(t, err, test.route)
				assert.Empty(t, router.added)
				return
			}
			require.NoError(t, err)
			assert.Contains(t, router.added, "POST /consume/orders")
			assert.Contains(t, router.added, "POST /consume/orders/"+test.exact)
			assert.Len(t, router.added, 18, "two paths, nine methods")
		})
	}
}

// TestRouterIsChecked has an adapter pass on what its app has forgotten.
func TestRouterIsChecked(t *testing.T) {
	client, _ := serving(t)
	for field, router := range map[string]core.Router{
		"router":        {Native: (*http.ServeMux)(nil), Handle: func(string, string, http.Handler) {}},
		"Router.Handle": {Native: http.NewServeMux()},
	} {
		for name, err := range map[string]error{
			"MountRoutes":   client.MountRoutes(router),
			"MountConsumer": core.MountConsumer(router, "/consume", http.NotFoundHandler()),
			"Register":      client.Register(router, core.Options{}, func() { assert.Fail(t, "the app is changed") }),
		} {
			require.ErrorIs(t, err, core.ErrInvalidConfig, name)
			var fault *core.FieldError
			require.ErrorAs(t, err, &fault, name)
			assert.Equal(t, field, fault.Field, name)
		}
	}
}

// TestRegisterChangesNothingOnErrors has a client that cannot start.
func TestRegisterChangesNothingOnErrors(t *testing.T) {
	client, _ := serving(t)
	require.NoError(t, client.Stop(t.Context()))
	router := newRouter("", "")
	require.ErrorIs(t, client.Register(router.Router, core.Options{}, func() { assert.Fail(t, "the app is changed") }), core.ErrClosed)
	assert.Empty(t, router.added)
}
