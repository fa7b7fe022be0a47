package ginpo_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/ginpo"
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

// TestContextAsContext uses the *gin.Context itself as a context.Context.
func TestContextAsContext(t *testing.T) {
	for name, fallback := range map[string]bool{"WithFallback": true, "WithoutFallback": false} {
		t.Run(name, func(t *testing.T) {
			client, server := newClient(t)
			engine := newEngine(fallback)
			engine.Use(ginpo.Middleware(client, ginpo.Options{}))
			engine.GET("/", func(c *gin.Context) {
				p, ok := core.FromContext(c)
				assert.True(t, ok)
				assert.Same(t, ginpo.FromContext(c), p)
				derived, cancel := context.WithCancel(c)
				defer cancel()
				assert.Same(t, p, core.MustFromContext(derived))
				_, err := p.Publish(c, "orders", map[string]int{})
				assert.NoError(t, err)
			})
			assert.Equal(t, http.StatusOK, request(t, engine, http.MethodGet, "/").Code)
			assert.Len(t, server.Messages(), 1)
		})
	}
}

// TestCopy uses a copy of the context after the request, as gin demands of
// goroutines.
func TestCopy(t *testing.T) {
	for name, fallback := range map[string]bool{"WithFallback": true, "WithoutFallback": false} {
		t.Run(name, func(t *testing.T) {
			client, server := newClient(t)
			engine := newEngine(fallback)
			engine.Use(ginpo.Middleware(client, ginpo.Options{}))
			var copied *gin.Context
			var original *core.Publisher
			engine.GET("/", func(c *gin.Context) { copied, original = c.Copy(), ginpo.FromContext(c) })
			engine.GET("/other", func(*gin.Context) {})
			request(t, engine, http.MethodGet, "/")
			for range 8 { // so that gin uses its contexts again
				request(t, engine, http.MethodGet, "/other")
			}
			assert.Same(t, original, ginpo.FromContext(copied))
			assert.Same(t, original, core.MustFromContext(copied))
			_, err := ginpo.FromContext(copied).Publish(copied, "orders", map[string]int{})
			assert.NoError(t, err)
			assert.Len(t, server.Messages(), 1)
		})
	}
}

// TestRequestIsNotRestored checks that middlewares around ours find the
// publisher in the request when the handler is done, too.
func TestRequestIsNotRestored(t *testing.T) {
	client, server := newClient(t)
	engine := newEngine(false)
	engine.Use(func(c *gin.Context) {
		c.Next()
		_, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", map[string]int{})
		assert.NoError(t, err)
	})
	engine.Use(ginpo.Middleware(client, ginpo.Options{}))
	engine.GET("/", func(*gin.Context) {})
	request(t, engine, http.MethodGet, "/")
	assert.Len(t, server.Messages(), 1)
}

// TestRequestContextIsTheTruth has publishers of a middleware in front of the
// engine, of the engine and of a handler that sets one.
func TestRequestContextIsTheTruth(t *testing.T) {
	outer, outerServer := newClient(t)
	own, ownServer := newClient(t)
	publish := func(c *gin.Context) {
		_, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", map[string]int{})
		assert.NoError(t, err)
	}
	engine := newEngine(false)
	engine.GET("/outer", publish)
	group := engine.Group("/own", ginpo.Middleware(own, ginpo.Options{}))
	group.GET("", publish)
	group.GET("/replaced", func(c *gin.Context) {
		assert.NoError(t, outer.Serve(c.Writer, c.Request, core.Options{}, func(_ http.ResponseWriter, r *http.Request) error {
			c.Request = r
			publish(c)
			return nil
		}))
	})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, outer.Serve(w, r, core.Options{}, func(w http.ResponseWriter, r *http.Request) error {
			engine.ServeHTTP(w, r)
			return nil
		}))
	})
	request(t, app, http.MethodGet, "/outer")
	assert.Len(t, outerServer.Messages(), 1)
	request(t, app, http.MethodGet, "/own")
	assert.Len(t, ownServer.Messages(), 1)
	request(t, app, http.MethodGet, "/own/replaced")
	assert.Len(t, outerServer.Messages(), 2)
	assert.Len(t, ownServer.Messages(), 1)
}

func TestTwoClientsInGroups(t *testing.T) {
	engine := newEngine(false)
	servers := map[string]*postofficetest.Server{}
	for _, name := range []string{"/a", "/b"} {
		client, server := newClient(t)
		servers[name] = server
		group := engine.Group(name, ginpo.Middleware(client, ginpo.Options{}))
		require.NoError(t, ginpo.Mount(group, client))
		group.GET("", func(c *gin.Context) {
			_, err := ginpo.FromContext(c).Publish(c, "orders", map[string]string{"group": name})
			assert.NoError(t, err)
		})
	}
	for name, server := range servers {
		request(t, engine, http.MethodGet, name)
		messages := server.Messages()
		require.Len(t, messages, 1, name)
		assert.JSONEq(t, `{"group":"`+name+`"}`, string(messages[0].Payload))
		assert.Equal(t, "[]", request(t, engine, http.MethodGet, name+"/postoffice/messages/").Body.String())
	}
}

// TestContextOfAHandlerTest has a context as tests of handlers make it.
func TestContextOfAHandlerTest(t *testing.T) {
	newEngine(false) // so that gin prints nothing
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	assert.Nil(t, ginpo.FromContext(c))
	p := &core.Publisher{}
	c.Set(core.ContextKey, p)
	assert.Same(t, p, ginpo.FromContext(c))
}

// TestRecovery has gin.Recovery in front, as gin.Default has.
func TestRecovery(t *testing.T) {
	client, _ := newClient(t)
	engine := newEngine(false)
	cause := errors.New("broken")
	engine.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, recovered any) {
		assert.Same(t, cause, recovered)
		assert.NotNil(t, ginpo.FromContext(c))
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	require.NoError(t, ginpo.Register(engine, client, ginpo.Options{}))
	engine.GET("/", func(*gin.Context) { panic(cause) })
	assert.Equal(t, http.StatusInternalServerError, request(t, engine, http.MethodGet, "/").Code)
}

// TestRegisterAppliesToEverything checks the handlers that gin runs without a
// route, too.
func TestRegisterAppliesToEverything(t *testing.T) {
	client, _ := newClient(t)
	engine := newEngine(false)
	engine.HandleMethodNotAllowed = true
	require.NoError(t, ginpo.Register(engine, client, ginpo.Options{}))
	found := map[int]bool{}
	engine.NoRoute(func(c *gin.Context) { found[http.StatusNotFound] = ginpo.FromContext(c) != nil })
	engine.NoMethod(func(c *gin.Context) { found[http.StatusMethodNotAllowed] = ginpo.FromContext(c) != nil })
	engine.GET("/", func(*gin.Context) {})
	assert.Equal(t, http.StatusNotFound, request(t, engine, http.MethodGet, "/nowhere").Code)
	assert.Equal(t, http.StatusMethodNotAllowed, request(t, engine, http.MethodPost, "/").Code)
	assert.Equal(t, map[int]bool{http.StatusNotFound: true, http.StatusMethodNotAllowed: true}, found)
}

func TestRegisterErrorLeavesTheEngine(t *testing.T) {
	client, _ := newClient(t)
	require.NoError(t, client.Stop(t.Context()))
	engine := newEngine(false)
	require.ErrorIs(t, ginpo.Register(engine, client, ginpo.Options{}), core.ErrClosed)
	assert.Empty(t, engine.Handlers)
	assert.Empty(t, engine.Routes())
}

func TestMountAtTheRoot(t *testing.T) {
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test", RecoveryPath: "/", AllowOpenRecovery: true})
	require.NoError(t, err)
	engine := newEngine(false)
	require.NoError(t, ginpo.Mount(engine, client))
	assert.Equal(t, "[]", request(t, engine, http.MethodGet, "/").Body.String())
	require.NoError(t, client.Stop(t.Context()))
}

// TestHandBackOfAnotherCopy has a middleware behind ours replace the request
// once more, as those for traces do.
func TestHandBackOfAnotherCopy(t *testing.T) {
	client, _ := newClient(t)
	engine := newEngine(false)
	engine.Use(ginpo.Middleware(client, ginpo.Options{}), func(c *gin.Context) {
		c.Request = c.Request.WithContext(c.Request.Context())
	})
	engine.GET("/", func(c *gin.Context) { c.Request.Pattern = "pattern" })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	engine.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, "pattern", r.Pattern)
}

// TestNilClient serves requests without a client, because the error of
// NewClient was not looked at.
func TestNilClient(t *testing.T) {
	engine := newEngine(false)
	engine.Use(ginpo.Middleware(nil, ginpo.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}))
	engine.GET("/", func(c *gin.Context) {
		_, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", map[string]int{})
		assert.ErrorContains(t, err, "client is nil")
	})
	assert.Equal(t, http.StatusOK, request(t, engine, http.MethodGet, "/").Code)
}

func TestNilArguments(t *testing.T) {
	assert.Nil(t, ginpo.FromContext(nil))
	client, _ := newClient(t)
	assert.ErrorIs(t, ginpo.Register(nil, client, ginpo.Options{}), core.ErrInvalidConfig)
	for _, router := range []gin.IRouter{nil, (*gin.Engine)(nil), (*gin.RouterGroup)(nil)} {
		assert.ErrorIs(t, ginpo.Mount(router, client), core.ErrInvalidConfig)
		assert.ErrorIs(t, ginpo.Consume(router, "/consume", http.NotFoundHandler()), core.ErrInvalidConfig)
	}
}

// TestMiddlewareWithoutARequest runs the middleware on a context as tests of
// handlers make it.
func TestMiddlewareWithoutARequest(t *testing.T) {
	newEngine(false) // so that gin prints nothing
	client, server := newClient(t)
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	ginpo.Middleware(client, ginpo.Options{})(c)
	_, err := ginpo.FromContext(c).Publish(t.Context(), "orders", map[string]int{})
	require.NoError(t, err)
	assert.Len(t, server.Messages(), 1)
}

// TestRouteBeforeRegister has the error of a route that was added too early say
// so.
func TestRouteBeforeRegister(t *testing.T) {
	client, _ := newClient(t)
	engine := newEngine(false)
	engine.POST("/", func(c *gin.Context) {
		_, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", struct{}{})
		assert.ErrorIs(t, err, core.ErrNoPublisher)
		assert.ErrorContains(t, err, "in Gin, before the route")
	})
	require.NoError(t, ginpo.Register(engine, client, ginpo.Options{}))
	assert.Equal(t, http.StatusOK, request(t, engine, http.MethodPost, "/").Code)
}
