// Command nethttp is a small net/http app that publishes to Postoffice.
//
//	go run ./examples/nethttp
//	curl -i -d '{"number": 7}' http://127.0.0.1:8080/orders
//
// It takes its settings from POSTOFFICE_ variables, at least POSTOFFICE_URL
// and POSTOFFICE_ORIGIN_HOST. Without POSTOFFICE_URL it starts a fake server
// in the process, to try it out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("nethttp", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	file := flags.String("outbox", "", "`file` of the outbox (default one that is deleted at the end)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the server closes it, too

	config, err := core.SettingsFromEnv()
	if err != nil {
		return err
	}
	if !slices.Contains(config.Topics, "orders") {
		config.Topics = append(config.Topics, "orders")
	}
	if config.URL == "" {
		fake, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime(), postofficetest.WithHistory(1000))
		if err != nil {
			return err
		}
		defer fake.Close()
		_, _ = fmt.Fprintln(stdout, "POSTOFFICE_URL is not set: using a fake server at", fake.URL())
		config.URL = fake.URL()
		config.OriginHost = "http://fake:secret@" + listener.Addr().String()
		config.Consumers = []core.Consumer{{Topic: "orders", Target: "orders", Type: core.PubSub}} // or the server throws them away
	}

	if *file == "" {
		dir, err := os.MkdirTemp("", "postoffice-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		*file = filepath.Join(dir, "outbox.db")
	}
	store, err := sqlite.Open(ctx, *file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	config.Outbox = store
	client, err := core.NewClient(config)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", createOrder)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	if err := nethttp.Register(server, client, nethttp.Options{}); err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	_, _ = fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	// First the handlers end, then what they have published, then the outbox.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(stopping), client.Stop(stopping))
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
