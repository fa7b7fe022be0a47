package bench

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
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
				run: func(tb testing.TB, n int) figures {
					return loadApp(tb, loader, a.address, handlerConnections, n, forever)
				},
				close: a.now,
			}
		}}}}
		for _, mode := range []core.Mode{core.Off, core.Memory, core.Durable} {
			sc.sides = append(sc.sides, side{mode.String(), func(tb testing.TB) job {
				a := publish(tb, state, nethttp.Options{AfterResponse: mode}, 1)
				if !a.up {
					a.breakCircuit(tb)
				}
				run := func(tb testing.TB, n int) figures {
					a.published += n
					return loadApp(tb, loader, a.address, handlerConnections, n, forever)
				}
				return job{run, a.close}
			}})
		}
		scenarios = append(scenarios, sc)
	}
	return scenarios
}

// outageScenarios are the first seconds of an outage of the server, before and
// after the circuit breaker opens.
func outageScenarios(loader *helper, limit time.Duration, states ...string) []scenario {
	const unlimited, warmUp = 1 << 30, 1000
	var scenarios []scenario
	for _, state := range states {
		sc := scenario{name: "server=" + state, sides: []side{{"floor", func(tb testing.TB) job {
			a := serve(tb, http.HandlerFunc(answerOK))
			return job{
				run: func(tb testing.TB, _ int) figures {
					return loadApp(tb, loader, a.address, handlerConnections, unlimited, limit)
				},
				close: a.now,
			}
		}}}}
		for _, mode := range []core.Mode{core.Off, core.Memory, core.Durable} {
			sc.sides = append(sc.sides, side{mode.String(), func(testing.TB) job {
				return job{run: func(tb testing.TB, _ int) figures {
					a := publish(tb, "0ms", nethttp.Options{AfterResponse: mode}, 1)
					loadApp(tb, loader, a.address, handlerConnections, warmUp, forever)
					require.NoError(tb, a.client.Flush(tb.Context()))
					a.set(tb, state)
					result := loadApp(tb, loader, a.address, handlerConnections, unlimited, limit)
					a.published, a.before = int(result["requests"]), warmUp
					a.close(tb)
					return result
				}}
			}})
		}
		scenarios = append(scenarios, sc)
	}
	return scenarios
}

// flushOnScenarios are requests with and without FlushOn: one message in each
// mode, and 5 messages that are committed once, beside 5 commits.
func flushOnScenarios(loader *helper) []scenario {
	var scenarios []scenario
	for _, load := range []struct {
		mode                  core.Mode
		messages, connections int
	}{
		{core.Off, 1, handlerConnections}, {core.Memory, 1, handlerConnections}, {core.Durable, 1, handlerConnections},
		{core.Durable, 5, handlerConnections}, {core.Durable, 5, 1},
	} {
		sc := scenario{name: fmt.Sprintf("mode=%s/messages=%d/concurrency=%d", load.mode, load.messages, load.connections)}
		for _, options := range []nethttp.Options{{AfterResponse: load.mode}, {AfterResponse: load.mode, FlushOn: core.Succeeded}} {
			name := "floor"
			if options.FlushOn != nil {
				name = "ours"
			}
			sc.sides = append(sc.sides, side{name, func(tb testing.TB) job {
				a := publish(tb, "0ms", options, load.messages)
				return job{close: a.close, run: func(tb testing.TB, n int) figures {
					a.published += n * load.messages
					return loadApp(tb, loader, a.address, load.connections, n, forever)
				}}
			}})
		}
		scenarios = append(scenarios, sc)
	}
	return scenarios
}

// answerOK is the handler that publishes nothing.
func answerOK(w http.ResponseWriter, _ *http.Request) {
	// The loader sees a missing response.
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

// loadApp sends requests to an app for a limited time.
func loadApp(tb testing.TB, loader *helper, address string, connections, n int, limit time.Duration) figures {
	var memory, used runtime.MemStats
	runtime.ReadMemStats(&memory)
	before, err := processorTime()
	require.NoError(tb, err)
	result := loader.load(tb, address, connections, n, limit)
	after, err := processorTime()
	require.NoError(tb, err)
	runtime.ReadMemStats(&used)
	requests := float64(result.Requests)
	return figures{
		"ns/op":      result.Seconds * 1e9 / float64(n),
		"requests":   requests,
		"req/s":      requests / result.Seconds,
		"cpu-ns/req": float64((after - before).Nanoseconds()) / requests,
		"allocs/req": float64(used.Mallocs-memory.Mallocs) / requests,
		"p50-ns":     result.P50,
		"p99-ns":     result.P99,
		"max-ns":     result.Max,
	}
}

// publishingApp is an app whose handler publishes.
type publishingApp struct {
	app
	server *helper
	client *core.Client
	store  *sqlite.Store
	// opened is closed when the circuit breaker opens.
	opened chan struct{}
	// up means that the server answers.
	up        bool
	published int
	// before is how many messages were published before the server went down.
	// Some may still be in the outbox.
	before int
}

// publish starts an app with the server in the given state, whose handler
// publishes a number of messages one by one.
func publish(tb testing.TB, state string, options nethttp.Options, messages int) *publishingApp {
	a := &publishingApp{server: startHelper(tb), opened: make(chan struct{})}
	var err error
	a.store, err = sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "outbox.db"))
	require.NoError(tb, err)
	open := sync.OnceFunc(func() { close(a.opened) })
	a.client = newClient(tb, a.server, core.Config{
		Outbox: a.store,
		Observer: core.Observer{Breaker: func(state core.BreakerState) {
			if state == core.BreakerOpen {
				open()
			}
		}},
	})
	require.NoError(tb, a.client.Start(tb.Context()))
	a.app = serve(tb, nethttp.Middleware(a.client, options)(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := range messages {
				if _, err := nethttp.FromRequest(r).Publish(r.Context(), topic, newOrder(i+1), usual.options(0, 0)...); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
			}
			answerOK(w, r)
		})))
	a.set(tb, state)
	return a
}

// set changes the state of the server.
func (a *publishingApp) set(tb testing.TB, state string) {
	a.up = false
	switch state {
	case "refused":
		a.server.ask(tb, "refuse")
	case "hanging":
		a.server.ask(tb, "hang")
	default:
		a.up = true
		a.server.ask(tb, "delay", state)
	}
}

// close stops the app and checks that no message is lost.
func (a *publishingApp) close(tb testing.TB) {
	a.now(tb)
	stop(tb, a.client)
	stats, err := a.store.Stats(tb.Context())
	require.NoError(tb, err)
	require.NoError(tb, a.store.Close())
	if a.up {
		require.Equal(tb, a.published, a.server.received(tb), "messages the server has got")
		require.Zero(tb, stats.Pending, "messages in the outbox")
	} else {
		require.GreaterOrEqual(tb, stats.Pending, a.published, "messages in the outbox")
		require.LessOrEqual(tb, stats.Pending, a.published+a.before, "messages in the outbox")
	}
	require.Zero(tb, stats.Dead, "dead messages in the outbox")
}

// breakCircuit publishes until the circuit breaker has opened.
func (a *publishingApp) breakCircuit(tb testing.TB) {
	const calls = 8 // more than the failures that open it
	spread(calls, calls, func(_, first, count int) {
		for i := range count {
			receipt, err := a.client.Publish(tb.Context(), topic, newOrder(first+i))
			assert.NoError(tb, err)
			assert.Equal(tb, core.Stored, receipt.State)
		}
	})
	a.published += calls
	select {
	case <-a.opened:
	case <-time.After(30 * time.Second):
		require.FailNow(tb, fmt.Sprintf("the circuit breaker has not opened after %d failures", calls))
	}
}
