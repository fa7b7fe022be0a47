// Command monitoring is a small net/http app that publishes to Postoffice, consumes
// its own messages, and exports metrics to Prometheus.
//
//	go run -C examples/monitoring .
//	curl http://127.0.0.1:8080/metrics
//
// It needs nothing but Go: the server is a fake one in the process, which is down
// from time to time, and the program sends requests to itself, so that the metrics
// change. The directory also contains alerting rules, a Grafana dashboard and a
// Prometheus configuration; see README.md.
//
// With POSTOFFICE_URL and POSTOFFICE_ORIGIN_HOST it publishes to another server, and
// sends requests to itself only if -rate is set.
package main

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
	"sync"
	"syscall"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outboxpage"
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

// stopTime bounds each step of a graceful shutdown.
const stopTime = 10 * time.Second

// run serves until the context ends.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	f, err := parseFlags(args)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the server closes it, too

	config, fake, err := configure(&f, listener.Addr().String(), stdout)
	if err != nil {
		return err
	}
	if fake != nil {
		defer fake.Close()
	}
	if f.file == "" {
		dir, err := os.MkdirTemp("", "postoffice-monitoring-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		f.file = filepath.Join(dir, "outbox.db")
	}
	store, err := sqlite.Open(ctx, f.file, sqlite.WithMaxBytes(f.maxBytes))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	config.Outbox = store

	meters, metrics, err := newMetrics()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meters.Shutdown(context.WithoutCancel(ctx))) }()
	receiver, err := startReceiver(ctx, f.file+".inbox", listener.Addr().String(), meters, f.interval)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		err = errors.Join(err, receiver.stop(stopping))
	}()
	config.Observer = otelpo.Observer(otelpo.WithMeterProvider(meters))
	client, err := core.NewClient(config)
	if err != nil {
		return err
	}
	stopGauges, err := otelpo.Gauges(client, otelpo.WithMeterProvider(meters), otelpo.WithOutboxInterval(f.interval))
	if err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	defer func() { err = errors.Join(err, stopGauges()) }() // before the outbox is closed
	if err := outboxpage.Mount(client, outboxpage.Options{Authorize: fromThisMachine}); err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	mux := routes(client, metrics)
	if err := receiver.mount(mux); err != nil {
		return errors.Join(err, client.Stop(ctx))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	if err := nethttp.Register(server, client, nethttp.Options{}); err != nil {
		return errors.Join(err, client.Stop(ctx))
	}

	address := "http://" + listener.Addr().String()
	_, _ = fmt.Fprintf(stdout, "listening on %[1]s\nmetrics: %[1]s/metrics\nundelivered messages: %[1]s%[2]s\n", address, outboxpage.DefaultPath)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	showing, end := context.WithCancel(ctx)
	defer end()
	var show sync.WaitGroup
	if fake != nil && f.down > 0 {
		show.Go(func() { fake.comeAndGo(showing, f.up, f.down) })
	}
	if f.rate > 0 {
		show.Go(func() { sendTraffic(showing, address, f.rate) })
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	end()
	show.Wait()
	// Wait for the handlers, then for their messages, and then close the inbox and
	// the outbox.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, server.Shutdown(stopping), client.Stop(stopping))
}

// configure reads the settings of the client. If they contain no server, it starts a
// fake one, which the caller closes.
func configure(f *flags, host string, stdout io.Writer) (core.Config, *fakeServer, error) {
	config, err := core.SettingsFromEnv()
	if err != nil {
		return config, nil, err
	}
	for _, topic := range topics {
		if !slices.Contains(config.Topics, topic) {
			config.Topics = append(config.Topics, topic)
		}
	}
	if config.URL != "" {
		return config, nil, nil
	}
	fake, err := startFakeServer()
	if err != nil {
		return config, nil, err
	}
	_, _ = fmt.Fprintln(stdout, "POSTOFFICE_URL is not set: using a fake server at", fake.URL())
	if f.down > 0 {
		_, _ = fmt.Fprintf(stdout, "it alternates: up for %v, down for %v\n", f.up, f.down)
	}
	if f.rate == 0 {
		f.rate = defaultRate
	}
	config.URL = fake.URL()
	config.OriginHost = "http://fake:secret@" + host
	ofOrders, ofVisits := consumers(host)
	config.Consumers = []core.Consumer{ofOrders, ofVisits}
	config.RecoveryEnabled = true
	return config, fake, nil
}
