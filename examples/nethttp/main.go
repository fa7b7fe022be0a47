// Command nethttp is a small net/http app that publishes to Postoffice.
//
//	go run ./examples/nethttp
//	curl -i -d '{"number": 7}' http://127.0.0.1:8080/orders
//
// It takes its settings from POSTOFFICE_ variables, at least POSTOFFICE_URL and
// POSTOFFICE_ORIGIN_HOST. Without POSTOFFICE_URL it starts a fake server in the
// process.
package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/examples/internal/program"
	"github.com/postoffice-go/postoffice/nethttp"
)

func main() { program.Main(newApp) }

func newApp(client *core.Client) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", createOrder)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	if err := nethttp.Register(server, client, nethttp.Options{}); err != nil {
		return nil, err
	}
	return server.Handler, nil
}

func createOrder(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Number int `json:"number"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&order); err != nil {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	receipt, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", order)
	if err != nil {
		slog.Error("order not published", "number", order.Number, "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, "order %d is %s\n", order.Number, receipt.State)
}
