package bench

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/nethttp"
)

// handlerConnections is how many connections load the app.
const handlerConnections = 32

// handlerScenarios are requests to an app whose handler publishes, by how the
// server is.
func handlerScenarios(loader *helper) []scenario {
	var scenarios []scenario
	for _, state := range []string{"0ms", "1ms", "5ms", "refused", "hanging"} {
		sc := scenario{name: "server=" + state, sides: []side{{"floor", func(tb testing.TB) job {
			a := serve(tb, http.HandlerFunc(answerOK))
			return job{
				run:   func(tb testing.TB, n int) figures { return loadApp(tb, loader, a.address, n) },
				close: a.now,
			}
		}}}}
		for _, mode := range []core.Mode{core.Off, core.Memory, core.Durable} {
			sc.sides = append(sc.sides, side{mode.String(), func(tb testing.TB) job {
				return publishingApp(tb, loader, state, mode)
			}})
		}
		scenarios = append(scenarios, sc)
	}
	return scenarios
}

// answerOK is the handler that publishes nothing.
func answerOK(w http.ResponseWriter, _ *http.Request) {
	// The loader sees what was not written.
	_, _ = w.Write([]byte("ok\n"))
}

// app is a server in this process.
type app struct {
	address string
	server  *http.Server
	done    chan error
}

// serve starts an app.
func serve(tb testing.TB, handler http.Handler) app {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	a := app{
		address: listener.Addr().String(),
		server:  &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute},
		done:    make(chan error, 1),
	}
	go func() { a.done <- a.server.Serve(listener) }()
	return a
}

// now stops the app.
func (a app) now(tb testing.TB) {
	require.NoError(tb, a.server.Shutdown(tb.Context()))
	if err := <-a.done; !errors.Is(err, http.ErrServerClosed) {
		require.NoError(tb, err)
	}
}

// loadApp sends requests to an app.
func loadApp(tb testing.TB, loader *helper, address string, n int) figures {
	result := loader.load(tb, address, handlerConnections, n)
	return figures{
		"ns/op":  result.Seconds * 1e9 / float64(n),
		"req/s":  float64(n) / result.Seconds,
		"p50-ns": result.P50,
		"p99-ns": result.P99,
	}
}

// publishingApp is an app whose handler publishes one message, with the
// server in the given state.
func publishingApp(tb testing.TB, loader *helper, state string, mode core.Mode) job {
	server := startHelper(tb)
	store, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "outbox.db"))
	require.NoError(tb, err)
	opened := make(chan struct{})
	open := sync.OnceFunc(func() { close(opened) })
	client := newClient(tb, server, core.Config{
		Outbox: store,
		Observer: core.Observer{Breaker: func(state core.BreakerState) {
			if state == core.BreakerOpen {
				open()
			}
		}},
	})
	require.NoError(tb, client.Start(tb.Context()))
	a := serve(tb, nethttp.Middleware(client, nethttp.Options{AfterResponse: mode})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := nethttp.FromRequest(r).Publish(r.Context(), topic, newOrder(1)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			answerOK(w, r)
		})))
	published := 0
	up := false
	switch state {
	case "refused":
		server.ask(tb, "refuse")
	case "hanging":
		server.ask(tb, "hang")
	default:
		up = true
		server.ask(tb, "delay", state)
	}
	if !up {
		published = breakCircuit(tb, client, opened)
	}
	return job{
		run: func(tb testing.TB, n int) figures {
			published += n
			return loadApp(tb, loader, a.address, n)
		},
		close: func(tb testing.TB) {
			a.now(tb)
			stop(tb, client)
			stats, err := store.Stats(tb.Context())
			require.NoError(tb, err)
			require.NoError(tb, store.Close())
			if up {
				require.Equal(tb, published, server.received(tb), "messages the server has got")
				require.Zero(tb, stats.Pending, "messages in the outbox")
			} else {
				require.Equal(tb, published, stats.Pending, "messages in the outbox")
			}
			require.Zero(tb, stats.Dead, "dead messages in the outbox")
		},
	}
}

// breakCircuit publishes until the circuit breaker has opened, and returns
// how many messages that took.
func breakCircuit(tb testing.TB, client *core.Client, opened <-chan struct{}) int {
	const calls = 8 // more than the failures that open it
	spread(calls, calls, func(_, first, count int) {
		for i := range count {
			receipt, err := client.Publish(tb.Context(), topic, newOrder(first+i))
			assert.NoError(tb, err)
			assert.Equal(tb, core.Stored, receipt.State)
		}
	})
	select {
	case <-opened:
	case <-time.After(30 * time.Second):
		require.FailNow(tb, fmt.Sprintf("the circuit breaker has not opened after %d failures", calls))
	}
	return calls
}
