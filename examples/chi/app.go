// Package routers adds a client to an app built on chi. core/docs/routers.md shows
// it.
package routers

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/nethttp"
)

func register(server *http.Server, client *core.Client) error {
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Post("/orders/{id}", createOrder)
	server.Handler = r
	return nethttp.Register(server, client, nethttp.Options{})
}

func newRouter(client *core.Client, consumer http.Handler) (http.Handler, error) {
	routes := http.NewServeMux()
	if err := nethttp.Mount(routes, client); err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Group(func(r chi.Router) {
		r.Use(nethttp.Middleware(client, nethttp.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}))
		r.Use(middleware.Compress(5), middleware.Timeout(5*time.Second))
		r.Post("/orders/{id}", createOrder)
	})
	r.Handle("/consume/orders", consumer) // returned by delivery.Handler
	r.Mount("/postoffice", routes)
	return r, nil
}

func createOrder(w http.ResponseWriter, r *http.Request) {
	order := map[string]string{"id": chi.URLParam(r, "id")}
	if _, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", order); err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
