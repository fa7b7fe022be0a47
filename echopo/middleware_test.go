package echopo_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/echopo"
)

// newClient makes a client of a server that knows the topic "orders".
func newClient(t *testing.T) (*core.Client, *postofficetest.Server) {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	client, err := core.NewClient(core.Config{
		URL: server.URL(), OriginHost: "http://user:secret@origin.test", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return client, server
}

// request serves one request.
func request(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.SetBasicAuth("user", "secret")
	handler.ServeHTTP(recorder, r)
	return recorder
}

// TestErrorsReachTheErrorHandler checks that the handler's very error comes
// to the middlewares around ours and to the error handler, and that both
// still find the publisher: the request is not restored.
func TestErrorsReachTheErrorHandler(t *testing.T) {
	plain := errors.New("broken")
	tests := map[string]struct {
		err    error
		status int
	}{
		"HTTPError":         {echo.NewHTTPError(http.StatusTeapot, "short and stout"), http.StatusTeapot},
		"InternalHTTPError": {echo.NewHTTPError(http.StatusConflict).SetInternal(plain), http.StatusConflict},
		"Wrapped":           {fmt.Errorf("wrapped: %w", plain), http.StatusInternalServerError},
		"Plain":             {plain, http.StatusInternalServerError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(t)
			e := echo.New()
			var passed, handled []error
			e.HTTPErrorHandler = func(err error, c echo.Context) {
				handled = append(handled, err)
				assert.NotNil(t, echopo.FromContext(c), "in the error handler")
				e.DefaultHTTPErrorHandler(err, c)
			}
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					err := next(c)
					passed = append(passed, err)
					assert.NotNil(t, echopo.FromContext(c), "after the handler")
					return err
				}
			})
			e.Use(echopo.Middleware(client, echopo.Options{}))
			e.GET("/", func(echo.Context) error { return test.err })
			assert.Equal(t, test.status, request(t, e, http.MethodGet, "/").Code)
			require.Len(t, passed, 1)
			assert.Same(t, test.err, passed[0])
			require.Len(t, handled, 1)
			assert.Same(t, test.err, handled[0])
		})
	}
}

// TestContextError reports an error by c.Error instead of returning it.
func TestContextError(t *testing.T) {
	client, _ := newClient(t)
	e := echo.New()
	require.NoError(t, echopo.Register(e, client, echopo.Options{}))
	e.GET("/", func(c echo.Context) error {
		c.Error(echo.NewHTTPError(http.StatusTeapot))
		return nil
	})
	assert.Equal(t, http.StatusTeapot, request(t, e, http.MethodGet, "/").Code)
}

// TestValueOfTheContext finds the publisher among the values of the
// echo.Context.
func TestValueOfTheContext(t *testing.T) {
	client, server := newClient(t)
	e := echo.New()
	e.GET("/", func(c echo.Context) error {
		p, ok := c.Get(core.ContextKey).(*core.Publisher)
		assert.True(t, ok)
		assert.Same(t, echopo.FromContext(c), p)
		_, err := p.Publish(c.Request().Context(), "orders", map[string]int{})
		return err
	}, echopo.Middleware(client, echopo.Options{})) // of a single route
	assert.Equal(t, http.StatusOK, request(t, e, http.MethodGet, "/").Code)
	assert.Len(t, server.Messages(), 1)
}

// TestRequestContextIsTheTruth has publishers of a middleware in front of the
// app, of the app and of a handler that sets one.
func TestRequestContextIsTheTruth(t *testing.T) {
	outer, outerServer := newClient(t)
	own, ownServer := newClient(t)
	publish := func(c echo.Context) error {
		_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]int{})
		return err
	}
	e := echo.New()
	e.GET("/outer", publish)
	group := e.Group("/own", echopo.Middleware(own, echopo.Options{}))
	group.GET("", publish)
	group.GET("/replaced", func(c echo.Context) error {
		return outer.Serve(c.Response(), c.Request(), core.Options{}, func(_ http.ResponseWriter, r *http.Request) error {
			c.SetRequest(r)
			return publish(c)
		})
	})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, outer.Serve(w, r, core.Options{}, func(w http.ResponseWriter, r *http.Request) error {
			e.ServeHTTP(w, r)
			return nil
		}))
	})
	assert.Equal(t, http.StatusOK, request(t, app, http.MethodGet, "/outer").Code)
	assert.Len(t, outerServer.Messages(), 1)
	assert.Equal(t, http.StatusOK, request(t, app, http.MethodGet, "/own").Code)
	assert.Len(t, ownServer.Messages(), 1)
	assert.Equal(t, http.StatusOK, request(t, app, http.MethodGet, "/own/replaced").Code)
	assert.Len(t, outerServer.Messages(), 2)
	assert.Len(t, ownServer.Messages(), 1)
}

func TestTwoClientsInGroups(t *testing.T) {
	e := echo.New()
	servers := map[string]*postofficetest.Server{}
	for _, name := range []string{"/a", "/b"} {
		client, server := newClient(t)
		servers[name] = server
		group := e.Group(name)
		group.Use(echopo.Middleware(client, echopo.Options{}))
		require.NoError(t, echopo.Mount(group, client))
		group.GET("", func(c echo.Context) error {
			_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]string{"group": name})
			return err
		})
	}
	for name, server := range servers {
		assert.Equal(t, http.StatusOK, request(t, e, http.MethodGet, name).Code)
		messages := server.Messages()
		require.Len(t, messages, 1, name)
		assert.JSONEq(t, `{"group":"`+name+`"}`, string(messages[0].Payload))
		assert.Equal(t, "[]", request(t, e, http.MethodGet, name+"/postoffice/messages/").Body.String())
	}
}

// TestMountBesideACatchAll mounts beside a route that matches everything.
func TestMountBesideACatchAll(t *testing.T) {
	client, _ := newClient(t)
	e := echo.New()
	e.Any("/*", func(c echo.Context) error { return c.String(http.StatusOK, "app") })
	require.NoError(t, echopo.Mount(e, client))
	for _, path := range []string{"/postoffice/messages", "/postoffice/messages/"} {
		assert.Equal(t, "[]", request(t, e, http.MethodGet, path).Body.String())
		assert.Equal(t, http.StatusMethodNotAllowed, request(t, e, http.MethodPost, path).Code)
	}
	assert.Equal(t, "app", request(t, e, http.MethodGet, "/postoffice").Body.String())
}

// TestMountInAHost has a host with a router of its own.
func TestMountInAHost(t *testing.T) {
	client, _ := newClient(t)
	e := echo.New()
	e.Any(core.DefaultRecoveryPath, func(c echo.Context) error { return c.String(http.StatusOK, "app") })
	host := e.Host("a.test")
	require.NoError(t, echopo.Mount(host, client), "the app's route is that of other hosts")
	assert.ErrorIs(t, echopo.Mount(host, client), core.ErrInvalidConfig, "mounted before")
}

func TestMountAtTheRoot(t *testing.T) {
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test", RecoveryPath: "/", AllowOpenRecovery: true})
	require.NoError(t, err)
	e := echo.New()
	require.NoError(t, echopo.Mount(e, client))
	assert.Equal(t, "[]", request(t, e, http.MethodGet, "/").Body.String())
	require.NoError(t, client.Stop(t.Context()))
}

func TestRegisterErrorLeavesTheApp(t *testing.T) {
	client, _ := newClient(t)
	require.NoError(t, client.Stop(t.Context()))
	e := echo.New()
	require.ErrorIs(t, echopo.Register(e, client, echopo.Options{}), core.ErrClosed)
	assert.Empty(t, e.Routes())
	e.GET("/", func(c echo.Context) error {
		assert.Nil(t, echopo.FromContext(c))
		return nil
	})
	assert.Equal(t, http.StatusOK, request(t, e, http.MethodGet, "/").Code)
}

// TestHandBackOfAnotherCopy has a middleware behind ours replace the request
// once more, as those for traces do.
func TestHandBackOfAnotherCopy(t *testing.T) {
	client, _ := newClient(t)
	e := echo.New()
	e.Use(echopo.Middleware(client, echopo.Options{}), func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.SetRequest(c.Request().WithContext(c.Request().Context()))
			return next(c)
		}
	})
	e.GET("/", func(c echo.Context) error {
		c.Request().Pattern = "pattern"
		return nil
	})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	e.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, "pattern", r.Pattern)
}

// TestNilClient serves requests without a client, because the error of
// NewClient was not looked at.
func TestNilClient(t *testing.T) {
	e := echo.New()
	e.Use(echopo.Middleware(nil, echopo.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}))
	e.GET("/", func(c echo.Context) error {
		_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]int{})
		assert.ErrorContains(t, err, "client is nil")
		return nil
	})
	assert.Equal(t, http.StatusOK, request(t, e, http.MethodGet, "/").Code)
}

func TestNilArguments(t *testing.T) {
	assert.Nil(t, echopo.FromContext(nil))
	client, _ := newClient(t)
	assert.ErrorIs(t, echopo.Register(nil, client, echopo.Options{}), core.ErrInvalidConfig)
	assert.ErrorIs(t, echopo.Mount(nil, client), core.ErrInvalidConfig)
	assert.ErrorIs(t, echopo.Mount((*echo.Echo)(nil), client), core.ErrInvalidConfig)
	assert.ErrorIs(t, echopo.Mount((*echo.Group)(nil), client), core.ErrInvalidConfig)
	assert.ErrorIs(t, echopo.Consume(nil, "/consume", http.NotFoundHandler()), core.ErrInvalidConfig)
}

// TestMiddlewareWithoutARequest runs the middleware on a context as tests of
// handlers make it.
func TestMiddlewareWithoutARequest(t *testing.T) {
	client, server := newClient(t)
	c := echo.New().NewContext(nil, httptest.NewRecorder())
	assert.Nil(t, echopo.FromContext(c))
	handler := func(c echo.Context) error {
		_, err := echopo.FromContext(c).Publish(t.Context(), "orders", map[string]int{})
		return err
	}
	require.NoError(t, echopo.Middleware(client, echopo.Options{})(handler)(c))
	assert.Len(t, server.Messages(), 1)

	bare := echo.New().NewContext(nil, httptest.NewRecorder())
	p := &core.Publisher{}
	bare.Set(core.ContextKey, p)
	assert.Same(t, p, echopo.FromContext(bare))
}
