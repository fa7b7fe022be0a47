//go:build unix

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// TestFileLost takes the embedded store's files from a running app, once with
// the server well and once with it down: nothing is accepted from then on that
// is not delivered, Ready says so, and what was stored before is delivered by
// the app while it runs.
func TestFileLost(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed":     os.Remove,
		"replaced":    func(path string) error { return os.Rename(path+".other", path) },
		"log removed": func(path string) error { return os.Remove(path + "-wal") },
	} {
		for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
			t.Run(fmt.Sprint(name, " ", mode), func(t *testing.T) { loseFile(t, mode, take) })
		}
	}
}

func loseFile(t *testing.T, mode core.Mode, take func(path string) error) {
	t.Parallel()
	ctx := t.Context()
	server := newOffice(t)
	var down atomic.Bool
	server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusServiceUnavailable, down.Load() })
	path := filepath.Join(t.TempDir(), "outbox.db")
	require.NoError(t, os.WriteFile(path+".other", nil, 0o600))
	store, err := sqlite.Open(ctx, path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, store.Close()) }()
	client, err := core.NewClient(app{Server: server.URL()}.config(nil, store))
	require.NoError(t, err)
	require.NoError(t, client.Start(ctx))
	defer func() {
		down.Store(false)
		assert.NoError(t, client.Stop(context.Background()))
	}()

	l := newLedger()
	sent := 0
	publish := func(n int) {
		require.NoError(t, client.Serve(nil, nil, core.Options{AfterResponse: mode}, func(_ http.ResponseWriter, r *http.Request) error {
			publisher := core.MustFromContext(r.Context())
			for range n {
				sent++
				id := fmt.Sprint("lost-", sent)
				if _, err := publisher.Publish(ctx, topic, payload{ID: id}); err == nil {
					l.accepted[id] = true
				}
			}
			return nil
		}))
	}
	down.Store(true)
	publish(20)
	require.Len(t, l.accepted, 20, "the outbox takes what the server does not")
	require.NoError(t, client.Flush(ctx))
	require.NoError(t, take(path))
	publish(20)
	if mode != core.Memory {
		assert.Len(t, l.accepted, 20, "neither the outbox nor the server takes anything")
	}
	require.Eventually(t, func() bool { return errors.Is(client.Ready(ctx), sqlite.ErrLost) }, patience, 10*time.Millisecond)

	down.Store(false)
	require.Eventually(t, func() bool { return client.Status().Breaker == core.BreakerClosed }, patience, 10*time.Millisecond)
	publish(20)
	require.ErrorIs(t, client.Ready(ctx), sqlite.ErrLost, "also while the server is well")
	assert.GreaterOrEqual(t, len(l.accepted), 40, "messages are posted")
	assert.Eventually(t, func() bool { return server.distinct() == len(l.accepted) }, patience, 10*time.Millisecond, "also those in the lost file")
	l.arrive(server)
	l.noneLost(t)
	l.report(t, "the server was down for a while")
}
