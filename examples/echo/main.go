// Command echo is a small Echo app that publishes to Postoffice.
//
//	go run ./examples/echo
//	curl -i --json '{"number": 7}' http://127.0.0.1:8080/orders
//
// It takes its settings from POSTOFFICE_ variables, at least POSTOFFICE_URL
// and POSTOFFICE_ORIGIN_HOST. Without POSTOFFICE_URL it starts a fake server
// in the process, to try it out.
package main

import (
	"context"
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

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/echopo"
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
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
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

	e := echo.New()
	if err := echopo.Register(e, client, echopo.Options{}); err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	e.POST("/orders", createOrder)
	server := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
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

func createOrder(c echo.Context) error {
	var order struct {
		Number int `json:"number"`
	}
	if err := c.Bind(&order); err != nil {
		return err
	}
	receipt, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", order)
	if err != nil {
		slog.Error("order not published", "number", order.Number, "error", err)
		return echo.NewHTTPError(http.StatusServiceUnavailable, "try again later")
	}
	return c.String(http.StatusAccepted, fmt.Sprintf("order %d is %s\n", order.Number, receipt.State))
}
