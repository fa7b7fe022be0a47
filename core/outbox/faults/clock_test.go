//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// step is by how much clocks are moved.
const step = 10 * time.Minute

// callsPerSecond is how many calls of Claim a relay with nothing to do may
// make. It looks every two seconds, and more often where something is due that
// it cannot have.
const callsPerSecond = 10

// lookedAt counts the claims of a store.
type lookedAt struct {
	outbox.Store
	claims atomic.Int64
}

func (s *lookedAt) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, options)
}

// TestClockMovedBetweenRuns moves the clock of the machine while an app with
// a file is not running. What was to wait waits at least as long as it was
// told, if the clock goes back, everything comes in the end, and the relay
// does not spin meanwhile. The clocks are those of two bubbles.
func TestClockMovedBetweenRuns(t *testing.T) {
	for name, moved := range map[string]time.Duration{"back": -step, "forward": step} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, func(k kind) bool { return k.name == "sqlite" }, func(t *testing.T, k kind) {
				clockMovedBetweenRuns(t, k, moved)
			})
		})
	}
}

func clockMovedBetweenRuns(t *testing.T, k kind, moved time.Duration) {
	const delay = 30 * time.Second
	server, l, place := newOffice(t), newLedger(), k.create(t)
	// Every bubble's clock begins at the same time.
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(max(0, -moved))
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		claimed, due, later := newRecords("claimed", 0, 5), newRecords("due", 0, 5), newRecords("later", 0, 5)
		require.NoError(t, store.Insert(t.Context(), 0, claimed...))
		_, err = store.Claim(t.Context(), outbox.ClaimOptions{Limit: 100, Lease: time.Minute})
		require.NoError(t, err)
		require.NoError(t, store.Insert(t.Context(), 0, due...))
		require.NoError(t, store.Insert(t.Context(), delay, later...))
		require.NoError(t, closeStore())
	})
	l.accepted = idsOf("claimed", "due", "later")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(max(0, moved))
		opened, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		store := &lookedAt{Store: opened}
		arrivals := &arrivals{next: direct{server.Handler(), 0}, at: map[string]time.Time{}}
		config := app{Server: "http://postoffice.test"}.config(nil, store)
		config.HTTPClient = &http.Client{Transport: arrivals}
		client, err := core.NewClient(config)
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, client.Start(t.Context()))
		const run = step + 2*time.Minute
		time.Sleep(run)
		require.NoError(t, client.Stop(t.Context()))
		l.arrive(server)
		l.keep(t, store)
		require.NoError(t, closeStore())
		l.noneLost(t)
		l.report(t, "clock moved by %v, %d claims in %v, due messages after %v, later ones after %v", moved, store.claims.Load(), run,
			arrivals.at["due-0"].Sub(begun).Round(time.Millisecond), arrivals.at["later-0"].Sub(begun).Round(time.Millisecond))
		assert.Empty(t, l.stored)
		assert.Zero(t, l.duplicates())
		assert.Less(t, store.claims.Load(), int64(run.Seconds()*callsPerSecond), "the relay does not spin")
		if moved < 0 {
			assert.GreaterOrEqual(t, arrivals.at["later-0"].Sub(begun), delay, "not before its time")
		}
	})
}

// idsOf returns the ids of five messages of each run.
func idsOf(runs ...string) map[string]bool {
	ids := map[string]bool{}
	for _, run := range runs {
		for _, record := range newRecords(run, 0, 5) {
			ids[idOf(record.Payload)] = true
		}
	}
	return ids
}

// arrivals notes when messages are posted.
type arrivals struct {
	next http.RoundTripper
	mu   sync.Mutex
	at   map[string]time.Time
}

func (a *arrivals) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	for _, id := range messagesIn(r) {
		a.at[id] = time.Now()
	}
	a.mu.Unlock()
	return a.next.RoundTrip(r)
}

// TestDatabaseClockMoved moves the clock of the database server under a
// relay. Times are the database's, so messages that wait there may come
// sooner or later by what the clock was moved; but none is lost, the relay
// does not spin, and no consumer gets a scheduled message before its time.
func TestDatabaseClockMoved(t *testing.T) {
	t.Parallel()
	for name, moved := range map[string]time.Duration{"back": -step, "forward": step} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, own, func(t *testing.T, k kind) { databaseClockMoved(t, k, moved) })
		})
	}
}

func databaseClockMoved(t *testing.T, k kind, moved time.Duration) {
	database := k.server(t, testdb.WithClock())
	place, server, l := database.Create(t), newOffice(t), newLedger()
	opened, closeStore, err := k.open(t.Context(), place, nil)
	require.NoError(t, err)
	store := &lookedAt{Store: opened}
	client, err := core.NewClient(app{Server: server.URL()}.config(nil, store))
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))

	// One is delivered before, so the relay is at work.
	l.accepted = idsOf("before", "waits", "after")
	require.NoError(t, store.Insert(t.Context(), 0, newRecords("before", 0, 5)...))
	until(t, func() bool { return server.distinct() == 5 }, "messages are delivered before")
	require.NoError(t, store.Insert(t.Context(), time.Hour, newRecords("waits", 0, 5)...))
	database.SetClock(t, moved)
	require.NoError(t, store.Insert(t.Context(), 0, newRecords("after", 0, 5)...))
	begun := time.Now()
	until(t, func() bool { return server.distinct() == 10 }, "messages are delivered after")
	took := time.Since(begun)

	before := store.claims.Load()
	<-time.After(3 * time.Second)
	claims := store.claims.Load() - before
	require.Equal(t, 10, server.distinct(), "what is to wait for an hour waits")
	require.NoError(t, client.Stop(t.Context()))

	scheduled := listedScheduled(t, store)
	database.SetClock(t, 0)
	_, err = store.Retry(t.Context(), outbox.Selection{All: true})
	require.NoError(t, err)
	require.NoError(t, closeStore())
	drain(t, k, place, server, 0)
	l.arrive(server)
	look(t, k, place, l)
	l.report(t, "clock moved by %v, %d claims in 3 s, a new message delivered after %v", moved, claims, took.Round(10*time.Millisecond))
	assert.Less(t, claims, int64(3*callsPerSecond), "the relay does not spin")
	assert.False(t, scheduled, "a message scheduled in five minutes is offered to the server, which delivers it at once")
	assert.Zero(t, l.duplicates())
}

// listedScheduled tells whether the recovery list offers a message that is
// scheduled in five minutes.
func listedScheduled(t *testing.T, store outbox.Store) bool {
	t.Helper()
	record := newRecords("scheduled", 0, 1)[0]
	record.DeliverAt = time.Now().Add(5 * time.Minute)
	require.NoError(t, store.Insert(t.Context(), 0, record))
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test", OriginHost: "http://app.test", AllowOpenRecovery: true, Outbox: store})
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	client.RecoveryHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, core.DefaultRecoveryPath, nil))
	require.Equal(t, http.StatusOK, recorder.Code)
	require.NoError(t, client.Stop(t.Context()))
	var items []struct{ ID string }
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &items))
	n, err := store.Delete(t.Context(), record.ID)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for _, item := range items {
		if item.ID == record.ID {
			return true
		}
	}
	return false
}
