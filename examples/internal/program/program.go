// Package program contains the common parts of the examples for the frameworks:
// settings, an outbox, a fake server, and a graceful shutdown.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
)

// Main runs an app until a signal ends it.
func Main(newApp func(*core.Client) (http.Handler, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := Run(ctx, os.Args[1:], os.Stdout, newApp); err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Run serves an app until the context ends. newApp registers the client and
// returns the app.
func Run(ctx context.Context, args []string, stdout io.Writer, newApp func(*core.Client) (http.Handler, error)) (err error) {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
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
		_, _ = fmt.Fprintln(stdout, "with a pubsub consumer of the topic orders, so that the server keeps the messages")
		config.URL = fake.URL()
		config.OriginHost = "http://fake:secret@" + listener.Addr().String()
		config.Consumers = []core.Consumer{{Topic: "orders", Target: "orders", Type: core.PubSub}}
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

	app, err := newApp(client)
	if err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	server := &http.Server{Handler: app, ReadHeaderTimeout: 5 * time.Second}
	_, _ = fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	// Wait for the handlers, then for their messages, and then close the outbox.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(stopping), client.Stop(stopping))
}
