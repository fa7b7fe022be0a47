package core_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// trap panics while it is set, so many times.
type trap struct{ left atomic.Int32 }

func (t *trap) set(times int32) { t.left.Store(times) }

func (t *trap) spring() {
	if t.left.Add(-1) >= 0 {
		panic("on purpose")
	}
}

// trappedHandler is a slog.Handler that may panic.
type trappedHandler struct {
	slog.Handler
	trap *trap
}

func (h trappedHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h trappedHandler) Handle(context.Context, slog.Record) error {
	h.trap.spring()
	return nil
}

// trappedStore is an outbox that may panic.
type trappedStore struct {
	outbox.Store
	trap *trap
}

func (s trappedStore) Insert(ctx context.Context, delay time.Duration, list ...outbox.Record) error {
	s.trap.spring()
	return s.Store.Insert(ctx, delay, list...)
}

func (s trappedStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	s.trap.spring()
	return s.Store.Claim(ctx, options)
}

func (s trappedStore) Next(ctx context.Context) (time.Duration, bool, error) {
	s.trap.spring()
	return s.Store.Next(ctx)
}

func (s trappedStore) Delete(ctx context.Context, ids ...string) (int, error) {
	s.trap.spring()
	return s.Store.Delete(ctx, ids...)
}

func (s trappedStore) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	s.trap.spring()
	return s.Store.Reschedule(ctx, changes...)
}

// trappedObserver has functions that may panic, except the ones that belong to
// calls.
func trappedObserver(t *trap) core.Observer {
	var o core.Observer
	value := reflect.ValueOf(&o).Elem()
	for i := range value.NumField() {
		if kind := value.Field(i).Type(); kind.NumOut() == 0 {
			value.Field(i).Set(reflect.MakeFunc(kind, func([]reflect.Value) []reflect.Value {
				t.spring()
				return nil
			}))
		}
	}
	o.Published = nil
	o.Send = func(ctx context.Context, _ core.SendCall) (context.Context, func(error)) {
		t.spring()
		return ctx, func(error) { t.spring() }
	}
	return o
}

// traps are parts of an app that may panic, built into a Config.
var traps = map[string]struct {
	always bool // it may panic for ever
	build  func(config *core.Config, t *trap)
}{
	"Logger":   {true, func(config *core.Config, t *trap) { config.Logger = slog.New(trappedHandler{trap: t}) }},
	"Observer": {true, func(config *core.Config, t *trap) { config.Observer = trappedObserver(t) }},
	"Transport": {false, func(config *core.Config, t *trap) {
		inner := config.HTTPClient.Transport
		config.HTTPClient = &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			t.spring()
			return inner.RoundTrip(r)
		})}
	}},
	"Outbox": {false, func(config *core.Config, t *trap) {
		if config.Outbox != nil {
			config.Outbox = trappedStore{config.Outbox, t}
		}
	}},
}

// inEachTrap runs a check with every part of an app that panics in the
// background.
func inEachTrap(t *testing.T, store func() outbox.Store, check func(t *testing.T, server *postofficetest.Server, config core.Config, arm func())) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(traps)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				var set trap
				config.Logger = quiet
				if store != nil {
					config.Outbox = store()
				}
				traps[name].build(&config, &set)
				check(t, server, config, func() {
					set.set(4)
					if traps[name].always {
						set.set(1_000_000)
					}
				})
			})
		})
	}
}

// arrived checks that all of n numbered messages have come, and none without
// end.
func arrived(t *testing.T, server *postofficetest.Server, n int) {
	t.Helper()
	times := map[string]int{}
	for _, payload := range payloadsOf(server, "orders") {
		times[payload]++
	}
	assert.Len(t, times, n)
	for payload, count := range times {
		assert.LessOrEqual(t, count, 8, payload)
	}
}

func TestPanicsInTheBackgroundLoseNothingOfMemory(t *testing.T) {
	for name, store := range map[string]func() outbox.Store{
		"WithOutbox": func() outbox.Store { return memory.New() }, "WithoutOutbox": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inEachTrap(t, store, func(t *testing.T, server *postofficetest.Server, config core.Config, arm func()) {
				client := startTestClient(t, config)
				queueN(t, publisherIn(t, client, core.Memory), 5, core.Queued)
				server.FailNext(3, http.StatusInternalServerError)
				arm()
				require.NoError(t, client.Flush(t.Context()))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				arrived(t, server, 5)
				if config.Outbox != nil {
					assert.Empty(t, records(t, config.Outbox))
				}
			})
		})
	}
}

// A message that waits too long for a slow server is committed to the outbox.
func TestPanicsInTheBackgroundLoseNothingThatAges(t *testing.T) {
	inEachTrap(t, func() outbox.Store { return memory.New() }, func(t *testing.T, server *postofficetest.Server, config core.Config, arm func()) {
		inner := config.HTTPClient.Transport
		config.HTTPClient = &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			time.Sleep(400 * time.Millisecond)
			return inner.RoundTrip(r)
		})}
		client := startTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 5, core.Queued)
		arm()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		arrived(t, server, 5)
		assert.Empty(t, records(t, config.Outbox))
	})
}

func TestPanicsInTheBackgroundLoseNothingOfDurable(t *testing.T) {
	inEachTrap(t, func() outbox.Store { return memory.New() }, func(t *testing.T, server *postofficetest.Server, config core.Config, arm func()) {
		client := startTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Durable), 5, core.Stored)
		server.FailNext(3, http.StatusInternalServerError)
		arm()
		require.NoError(t, client.Flush(t.Context()))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		arrived(t, server, 5)
		assert.Empty(t, records(t, config.Outbox))
	})
}

func TestPanicsDoNotStopTheRelay(t *testing.T) {
	inEachTrap(t, func() outbox.Store { return memory.New() }, func(t *testing.T, server *postofficetest.Server, config core.Config, arm func()) {
		insert(t, config.Outbox, "orders", 1200)
		server.FailNext(3, http.StatusInternalServerError)
		client := newTestClient(t, config)
		arm()
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		arrived(t, server, 1200)
		assert.Empty(t, records(t, config.Outbox))
	})
}

func TestPanicsDoNotStopSetup(t *testing.T) {
	inEachTrap(t, nil, func(t *testing.T, server *postofficetest.Server, config core.Config, arm func()) {
		config.Topics, config.OriginHost = []string{"new", "newer"}, "http://app.test"
		server.FailNext(2, http.StatusInternalServerError)
		startTestClient(t, config)
		arm()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var names []string
		for _, topic := range server.Topics() {
			names = append(names, topic.Name)
		}
		assert.Subset(t, names, config.Topics)
	})
}

// A panic of the app's transport in a call of Setup, which creates topics in
// goroutines, is one of the call.
func TestPanicsOfSetupAreTheCallers(t *testing.T) {
	client := newTestClient(t, core.Config{
		URL: testServer, Topics: slices.Repeat([]string{"a"}, 1), OriginHost: "http://app.test",
		HTTPClient: &http.Client{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { panic("on purpose") })},
	})
	assert.PanicsWithValue(t, "on purpose", func() { _, _ = client.Setup(t.Context()) })
}

// An Observer that panics does not hide from a caller that the message was
// accepted; the log tells.
func TestObserversThatPanicAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var text logText
		config.Logger = text.logger()
		var set trap
		set.set(1_000_000)
		config.Observer = trappedObserver(&set)
		_, err := newTestClient(t, config).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Len(t, server.MessagesOf("orders"), 1)
		for _, name := range []string{"Observer.Delivered", "Observer.Send"} {
			assert.Contains(t, text.String(), name)
		}
		assert.Contains(t, text.String(), "on purpose")
		assert.Contains(t, text.String(), "guard_test.go", "where it was")
	})
}

func TestGuardedHandler(t *testing.T) {
	var text logText
	warn := func(logger *slog.Logger) {
		client := newTestClient(t, core.Config{URL: testServer, Logger: logger})
		pathsOf(t, client)
		client.AddRoute(core.Route{Path: "/late/"})
	}
	warn(text.logger().With("a", 1).WithGroup("g"))
	assert.Contains(t, text.String(), "a=1 g.path=/late/")
	var nothing slog.Handler // whose methods panic
	assert.NotPanics(t, func() { warn(slog.New(struct{ slog.Handler }{nothing})) })
}
