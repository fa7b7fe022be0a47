package adaptertest_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

// Middleware gives every request a publisher of the client.
func Middleware(client *core.Client, options core.Options) func(Handler) Handler {
	return func(next Handler) Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			return client.Serve(w, r, options, func(w http.ResponseWriter, r *http.Request) error {
				if response, ok := w.(*core.Response); ok { // with FlushOn
					w = nethttp.Writer(response.ResponseWriter, response.Start)
				}
				return next(w, r)
			})
		}
	}
}

// FromRequest returns the request's publisher.
func FromRequest(r *http.Request) *core.Publisher {
	p, _ := core.FromContext(r.Context())
	return p
}

// Mount serves the client's routes.
func Mount(router *Router, client *core.Client) error { return client.MountRoutes(from(router)) }

// Register starts the client, installs the middleware and mounts the routes.
func Register(router *Router, client *core.Client, options core.Options) error {
	return client.Register(from(router), options, func() { router.Use(Middleware(client, options)) })
}

// Consume serves what the server posts to a consumer.
func Consume(router *Router, path string, handler http.Handler) error {
	return core.MountConsumer(from(router), path, handler)
}

// from tells core how to use the router.
func from(router *Router) core.Router {
	return core.Router{
		Native: router,
		Handle: func(method, path string, handler http.Handler) { router.Add(method, path, Wrap(handler)) },
		Below:  "*",
		Routes: func(*http.Request) []string { return router.Routes() },
	}
}

// An adapter for a framework of one's own, here a small one whose writers are
// the ones of net/http. Run and RunConsume check it in a test.
func Example() {
	server := postofficetest.NewServer()
	defer server.Close()
	client, err := core.NewClient(core.Config{
		URL: server.URL(), OriginHost: "http://user:secret@app.test", Topics: []string{"orders"},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = client.Stop(context.Background()) }()
	router := &Router{}
	if err := Register(router, client, core.Options{}); err != nil {
		panic(err)
	}
	router.Add(http.MethodPost, "/orders", func(w http.ResponseWriter, r *http.Request) error {
		receipt, err := FromRequest(r).Publish(r.Context(), "orders", map[string]int{"id": 7})
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(w, receipt.State)
		return err
	})
	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/orders", nil))
	fmt.Println(answer.Code, answer.Body)
	fmt.Println(string(server.Messages()[0].Payload))
	// Output:
	// 200 delivered
	// {"id":7}
}
