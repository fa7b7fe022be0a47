package postofficetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// quiet is a logger of nothing.
var quiet = slog.New(slog.DiscardHandler)

func TestNewClient(t *testing.T) {
	server := postofficetest.Start(t)
	var client *core.Client
	t.Run("the test of a user", func(t *testing.T) {
		client = postofficetest.NewClient(t, server, core.NewClient, core.Config{Topics: []string{"orders"}, RecoveryEnabled: true, Logger: quiet})
		assert.Equal(t, []postofficetest.Topic{{
			ID: 1, Name: "orders", OriginHost: postofficetest.OriginHost + core.DefaultRecoveryPath, RecoveryEnabled: true,
		}}, server.Topics(), "it is started")
		_, err := client.Publish(t.Context(), "orders", map[string]int{"id": 7})
		require.NoError(t, err)
	})
	_, err := client.Publish(t.Context(), "orders", map[string]int{"id": 8})
	require.ErrorIs(t, err, core.ErrClosed, "it is stopped")
	require.NoError(t, server.WaitForMessages(t.Context(), "orders", 1))
}

// TestNewClientKeepsTheConfig has a Config of its own.
func TestNewClientKeepsTheConfig(t *testing.T) {
	server, other := postofficetest.Start(t), postofficetest.Start(t)
	postofficetest.NewClient(t, server, core.NewClient, core.Config{
		URL: other.URL(), OriginHost: "http://shop.test", Topics: []string{"orders"}, Logger: quiet,
	})
	assert.Empty(t, server.Topics())
	require.Len(t, other.Topics(), 1)
	assert.Equal(t, "http://shop.test/postoffice/messages/", other.Topics()[0].OriginHost)
}

// TestNewClientInBubble has a relay whose times pass at once.
func TestNewClientInBubble(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, http *http.Client) {
		client := postofficetest.NewClient(t, server, core.NewClient, core.Config{HTTPClient: http, Outbox: memory.New(), Logger: quiet})
		server.FailNext(3, 503)
		receipt, err := client.Publish(t.Context(), "orders", map[string]int{"id": 7})
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, server.WaitForMessages(ctx, "orders", 1))
	})
}

// recorded is a testing.TB that records how a test fails.
type recorded struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (r *recorded) Helper() {}

func (r *recorded) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorded) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorded) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// run runs a test to its end and returns how it failed.
func (r *recorded) run(test func(tb testing.TB)) []string {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		test(r)
	}()
	<-ended
	for _, cleanup := range r.cleanups {
		cleanup()
	}
	return r.failures
}

// lame is a client that can do nothing.
type lame struct{ start, stop error }

func (l lame) Start(context.Context) error { return l.start }

func (l lame) Stop(context.Context) error { return l.stop }

func TestNewClientFailsTheTest(t *testing.T) {
	server := postofficetest.Start(t)
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		create func(core.Config) (lame, error)
		says   string
	}{
		"new":   {func(core.Config) (lame, error) { return lame{}, broken }, "postofficetest: making a client: broken"},
		"start": {func(core.Config) (lame, error) { return lame{start: broken}, nil }, "postofficetest: starting the client: broken"},
		"stop":  {func(core.Config) (lame, error) { return lame{stop: broken}, nil }, "postofficetest: stopping the client: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			failures := (&recorded{TB: t}).run(func(tb testing.TB) {
				postofficetest.NewClient(tb, server, test.create, core.Config{})
			})
			assert.Equal(t, []string{test.says}, failures)
		})
	}
	failures := (&recorded{TB: t}).run(func(tb testing.TB) {
		postofficetest.NewClient(tb, server, func(struct{ URL int }) (lame, error) { return lame{}, nil }, struct{ URL int }{})
	})
	require.Len(t, failures, 1)
	assert.Contains(t, failures[0], "has no text field")
}

// TestNewClientThatDoesNotStop ends all the same.
func TestNewClientThatDoesNotStop(t *testing.T) {
	server := postofficetest.Start(t)
	synctest.Test(t, func(t *testing.T) {
		failures := (&recorded{TB: t}).run(func(tb testing.TB) {
			postofficetest.NewClient(tb, server, func(core.Config) (endless, error) { return endless{}, nil }, core.Config{})
		})
		assert.Equal(t, []string{"postofficetest: stopping the client: context deadline exceeded"}, failures)
	})
}

// endless is a client that stops only when its context ends.
type endless struct{ lame }

func (endless) Stop(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
