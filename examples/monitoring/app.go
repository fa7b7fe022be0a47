package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outboxpage"
	"github.com/postoffice-go/postoffice/nethttp"
)

// Topics of the app.
const (
	orders  = "orders"
	parcels = "parcels" // without a consumer
	visits  = "visits"
)

var topics = []string{orders, parcels, visits}

type order struct {
	Number int    `json:"number"`
	Item   string `json:"item,omitempty"`
}

type visit struct {
	Page string `json:"page"`
}

// brokenPage is a page that fails.
const brokenPage = "/broken"

// routes returns the app's routes, in addition to the client's own routes.
func routes(client *core.Client, metrics http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index)
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("POST /orders", create(orders, "order"))
	mux.HandleFunc("POST /parcels", create(parcels, "parcel"))
	// There are many visits, and they can wait for the response: they are posted
	// together, and only if the page was shown.
	later := nethttp.Middleware(client, nethttp.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
	mux.Handle("POST /visits", later(http.HandlerFunc(showPage)))
	return mux
}

func index(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "GET  /metrics\nGET  "+outboxpage.DefaultPath+`
POST /orders  {"number": 7}
POST /parcels {"number": 7}
POST /visits  {"page": "/teapots"}
`)
}

// create publishes an order to a topic before it answers.
func create(topic, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		if !read(w, r, &o) {
			return
		}
		if receipt, ok := publish(w, r, topic, o); ok {
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprintf(w, "%s %d is %s\n", name, o.Number, receipt.State)
		}
	}
}

// showPage publishes a visit and answers; its middleware posts the visit afterwards,
// unless the answer is an error.
func showPage(w http.ResponseWriter, r *http.Request) {
	var v visit
	if !read(w, r, &v) {
		return
	}
	if _, ok := publish(w, r, visits, v); !ok {
		return
	}
	if v.Page == brokenPage {
		http.Error(w, "the page failed", http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintln(w, "the page")
}

// read reads the posted JSON. If it fails, it has answered.
func read(w http.ResponseWriter, r *http.Request, value any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(value); err != nil {
		http.Error(w, "invalid request body", http.StatusBadRequest)
		return false
	}
	return true
}

// publish publishes with the request's publisher. If it fails, it has answered.
func publish(w http.ResponseWriter, r *http.Request, topic string, payload any) (core.Receipt, bool) {
	receipt, err := nethttp.FromRequest(r).Publish(r.Context(), topic, payload)
	if errors.Is(err, core.ErrInvalidMessage) {
		http.Error(w, "invalid message", http.StatusBadRequest)
		return receipt, false
	}
	if err != nil {
		slog.Error("not published", "topic", topic, "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return receipt, false
	}
	return receipt, true
}

// fromThisMachine admits only local requests to the page of undelivered messages. In
// your app, check whether the request is an operator's.
func fromThisMachine(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
