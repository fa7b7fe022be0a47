package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
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

// checkedStore is an outbox whose Check answers what a test says, after a
// while.
type checkedStore struct {
	outbox.Store
	err   error
	takes time.Duration
	asked atomic.Int32
}

func (s *checkedStore) Check(ctx context.Context) error {
	s.asked.Add(1)
	select {
	case <-time.After(s.takes):
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probe asks a client's readiness handler.
func probe(client *core.Client) (int, string) {
	answer := ask(client.ReadinessHandler(), http.MethodGet, "/readyz")
	return answer.Code, answer.Body.String()
}

func TestReadiness(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &checkedStore{Store: memory.New()}
		var log logText
		config.Outbox, config.Logger = store, log.logger()
		client := newTestClient(t, config)
		require.ErrorIs(t, client.Ready(t.Context()), core.ErrNotStarted)
		status, body := probe(client)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.JSONEq(t, `{"status":"not ready","reason":"not started"}`, body)

		require.NoError(t, client.Start(t.Context()))
		require.NoError(t, client.Ready(t.Context()))
		status, body = probe(client)
		assert.Equal(t, http.StatusOK, status)
		assert.JSONEq(t, `{"status":"ready"}`, body)

		store.err = errors.New("disk is full")
		asked := store.asked.Load()
		status, _ = probe(client)
		assert.Equal(t, http.StatusOK, status, "the server takes messages")
		assert.Equal(t, asked, store.asked.Load(), "the outbox is left alone while it is not needed")

		store.err = nil
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusServiceUnavailable, true })
		for client.Status().Breaker != core.BreakerOpen {
			_, err := client.Publish(t.Context(), "orders", map[string]any{})
			require.NoError(t, err)
		}
		status, _ = probe(client)
		assert.Equal(t, http.StatusOK, status, "the outbox takes messages")

		store.err = errors.New("disk is full")
		status, _ = probe(client)
		assert.Equal(t, http.StatusOK, status, "the answer of a moment ago is used again")
		asked = store.asked.Load()
		time.Sleep(time.Second)
		for range 3 {
			status, body = probe(client)
			assert.Equal(t, http.StatusServiceUnavailable, status)
			assert.JSONEq(t, `{"status":"not ready","reason":"outbox"}`, body)
		}
		assert.Equal(t, asked+1, store.asked.Load())
		require.ErrorIs(t, client.Ready(t.Context()), store.err)
		synctest.Wait() // the relay logs, too
		assert.Contains(t, log.String(), "disk is full", "the reason is for the log")

		store.err = nil
		time.Sleep(time.Second)
		status, _ = probe(client)
		assert.Equal(t, http.StatusOK, status)

		require.NoError(t, client.Stop(t.Context()))
		require.ErrorIs(t, client.Ready(t.Context()), core.ErrClosed)
		status, body = probe(client)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.JSONEq(t, `{"status":"not ready","reason":"stopped"}`, body)
	})
}

// probedStore is an outbox whose check at the start does more than that of
// readiness.
type probedStore struct {
	checkedStore
	probed atomic.Int32
}

func (s *probedStore) Probe(context.Context) error {
	s.probed.Add(1)
	return nil
}

func TestReadinessOnlyProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &probedStore{checkedStore: checkedStore{Store: memory.New()}}
		client := startTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		assert.Equal(t, int32(1), store.asked.Load(), "Start checks")
		for client.Status().Breaker != core.BreakerOpen {
			_, err := client.Publish(t.Context(), "orders", map[string]any{})
			require.NoError(t, err)
		}
		require.NoError(t, client.Ready(t.Context()))
		assert.Equal(t, int32(1), store.probed.Load())
		assert.Equal(t, int32(1), store.asked.Load())
	})
}

// failedStore is an outbox that fails permanently when a test says so.
type failedStore struct {
	outbox.Store
	failed atomic.Pointer[error]
}

func (s *failedStore) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// TestReadinessOfAnOutboxThatHasFailed shows that an outbox which only a restart
// mends makes the app unready also while the server is well.
func TestReadinessOfAnOutboxThatHasFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		store := &failedStore{Store: memory.New()}
		var log logText
		config.Outbox, config.Logger = store, log.logger()
		client := startTestClient(t, config)
		require.NoError(t, client.Ready(t.Context()))
		lost := errors.New("outbox.db was removed")
		store.failed.Store(&lost)
		require.ErrorIs(t, client.Ready(t.Context()), lost)
		require.Equal(t, core.BreakerClosed, client.Status().Breaker)
		status, body := probe(client)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.JSONEq(t, `{"status":"not ready","reason":"outbox"}`, body)
		assert.Contains(t, log.String(), "outbox.db was removed", "the reason is for the log")
	})
}

func TestReadinessIsOverWhenStopBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := startTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: memory.New()})
		_, err := publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", map[string]any{})
		require.NoError(t, err)
		stopping, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _ = client.Stop(stopping) }()
		synctest.Wait()
		require.ErrorIs(t, client.Ready(t.Context()), core.ErrClosed, "Stop is still at work")
		cancel()
		synctest.Wait()
	})
}

func TestReadinessWithoutOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := startTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}})
		for client.Status().Breaker != core.BreakerOpen {
			_, err := client.Publish(t.Context(), "orders", map[string]any{})
			require.Error(t, err)
		}
		require.NoError(t, client.Ready(t.Context()), "a server that is down alone does not fail the app")
	})
}

func TestReadinessWaitsForTheOutboxAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &checkedStore{Store: memory.New()}
		client := startTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		for client.Status().Breaker != core.BreakerOpen {
			_, err := client.Publish(t.Context(), "orders", map[string]any{})
			require.NoError(t, err)
		}
		store.takes = time.Hour
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		require.ErrorIs(t, client.Ready(gone), context.DeadlineExceeded, "the answer is for others, too")
		assert.Equal(t, readinessTimeout, time.Since(began))
	})
}

func TestReadinessHandlerMethods(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	require.NoError(t, client.Start(t.Context()))
	server := httptest.NewServer(client.ReadinessHandler())
	defer server.Close()
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405} {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
		require.NoError(t, err)
		answer, err := server.Client().Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, want, answer.StatusCode, method)
		assert.Equal(t, "no-store, no-transform", answer.Header.Get("Cache-Control"), method)
		if want == 405 {
			assert.Equal(t, "GET, HEAD", answer.Header.Get("Allow"))
		}
	}
}
