package postofficetest_test

import (
	"context"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"runtime"
	"sync"
	"testing"
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
		client = postofficetest.NewClient(t, server, core.Config{Topics: []string{"orders"}, RecoveryEnabled: true, Logger: quiet})
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
	postofficetest.NewClient(t, server, core.Config{
		URL: other.URL(), OriginHost: "http://shop.test", Topics: []string{"orders"}, Logger: quiet,
	})
	assert.Empty(t, server.Topics())
	require.Len(t, other.Topics(), 1)
	assert.Equal(t, "http://shop.test/postoffice/messages/", other.Topics()[0].OriginHost)
}

// TestNewClientInBubble has a relay whose times pass at once.
func TestNewClientInBubble(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, http *nethttp.Client) {
		client := postofficetest.NewClient(t, server, core.Config{HTTPClient: http, Outbox: memory.New(), Logger: quiet})
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

func TestNewClientFailsTheTest(t *testing.T) {
	server := postofficetest.Start(t)
	closed := memory.New()
	require.NoError(t, closed.Close())
	for name, test := range map[string]struct {
		config core.Config
		says   string
	}{
		"new":   {core.Config{BulkLimit: -1}, "postofficetest: creating a client: postoffice: invalid configuration: BulkLimit is negative"},
		"start": {core.Config{Outbox: closed, Logger: quiet}, "postofficetest: starting the client: postoffice: outbox is closed"},
	} {
		t.Run(name, func(t *testing.T) {
			failures := (&recorded{TB: t}).run(func(tb testing.TB) { postofficetest.NewClient(tb, server, test.config) })
			assert.Equal(t, []string{test.says}, failures)
		})
	}
}

// TestNewClientThatDoesNotStop has a request hold a message when its test ends,
// which Stop waits for.
func TestNewClientThatDoesNotStop(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, http *nethttp.Client) {
		ending := make(chan struct{})
		var request sync.WaitGroup
		failures := (&recorded{TB: t}).run(func(tb testing.TB) {
			client := postofficetest.NewClient(tb, server, core.Config{HTTPClient: http, Logger: quiet})
			published := make(chan error)
			request.Go(func() {
				_ = client.Serve(nil, nil, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}, func(_ nethttp.ResponseWriter, r *nethttp.Request) error {
					_, err := core.MustFromContext(r.Context()).Publish(r.Context(), "orders", map[string]int{"id": 7})
					published <- err
					<-ending
					return nil
				})
			})
			assert.NoError(tb, <-published)
		})
		assert.Equal(t, []string{"postofficetest: stopping the client: postoffice: stop: context deadline exceeded"}, failures)
		close(ending)
		request.Wait()
	})
}
