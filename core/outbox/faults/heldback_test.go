//go:build unix

package faults

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// TestHeldBackPastItsLease holds back a relay between its claim and its post
// until another relay has the messages. When the first one continues and fails,
// it must not give back what the other one holds: a third could post it too.
func TestHeldBackPastItsLease(t *testing.T) {
	t.Parallel()
	eachStore(t, nil, func(t *testing.T, k kind) {
		const messages = 10
		place, server, l := k.create(t), newOffice(t), newLedger()
		seed(t, k, place, l, "r", messages)
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		server.Hang()

		// The first relay claims everything.
		gate := newGate()
		slow := &countedStore{Store: shorten(store, 500*time.Millisecond), rescheduled: make(chan int, 10)}
		first := newClient(t, server, slow, gate)
		require.NoError(t, first.Start(t.Context()))
		<-gate.reached

		// The lease ends, and the second relay has it all.
		second := newClient(t, server, store, nil)
		require.NoError(t, second.Start(t.Context()))
		until(t, func() bool { return len(server.Requests()) > 0 }, "the second relay posts")
		require.Equal(t, messages, held(t, store))

		// The first one continues, and cannot send.
		close(gate.open)
		assert.Zero(t, <-slow.rescheduled, "it does not hold them any more")
		assert.Equal(t, messages, held(t, store), "the second relay holds them still")

		server.Resume()
		until(t, func() bool { return len(list(t, store)) == 0 }, "all are delivered")
		require.NoError(t, first.Stop(t.Context()))
		require.NoError(t, second.Stop(t.Context()))
		require.NoError(t, closeStore())
		l.arrive(server)
		l.noneLost(t)
		l.report(t, "one relay held back past its lease")
		assert.Zero(t, l.duplicates())
	})
}

// held counts the records that a claim holds.
func held(t *testing.T, store outbox.Store) int {
	t.Helper()
	stats, err := store.Stats(t.Context())
	require.NoError(t, err)
	return stats.Held
}

// newClient makes a client of a server and a store. It posts through the
// transport, if there is one.
func newClient(t *testing.T, server *office, store outbox.Store, transport http.RoundTripper) *core.Client {
	t.Helper()
	config := app{Server: server.URL()}.config(nil, store)
	if transport != nil {
		config.HTTPClient = &http.Client{Transport: transport}
	}
	// Long enough for the test to do what it does while a request waits.
	config.Timeout, config.BulkTimeout = patience/4, patience/4
	config.Topics = nil // nothing but messages is sent
	client, err := core.NewClient(config)
	require.NoError(t, err)
	return client
}

// gate is a transport that holds requests back until it is opened, and then
// fails.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) RoundTrip(*http.Request) (*http.Response, error) {
	g.reached <- struct{}{}
	<-g.open
	return nil, errors.New("no route to host")
}

// countedStore tells how many records each Reschedule gave back.
type countedStore struct {
	outbox.Store
	rescheduled chan int
}

func (s *countedStore) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	n, err := s.Store.Reschedule(ctx, changes...)
	select {
	case s.rescheduled <- n:
	default:
	}
	return n, err
}

// TestSlowServer has two relays share a store, and a server that takes nearly
// as long to answer as it may. No lease may end before the answer has come.
// The time is that of a bubble.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	server := newOffice(t)
	synctest.Test(t, func(t *testing.T) {
		const messages = 1000
		k := kinds["sqlite"]
		place, l := k.create(t), newLedger()
		seed(t, k, place, l, "r", messages)
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		var clients []*core.Client
		for range 2 {
			config := app{Server: "http://postoffice.test"}.config(nil, store)
			config.BulkTimeout, config.Timeout = core.DefaultBulkTimeout, core.DefaultBulkTimeout
			config.HTTPClient = &http.Client{Transport: direct{server.Handler(), core.DefaultBulkTimeout * 9 / 10}}
			client, err := core.NewClient(config)
			require.NoError(t, err)
			require.NoError(t, client.Start(t.Context()))
			clients = append(clients, client)
		}
		time.Sleep(10 * time.Minute) // of the bubble
		for _, client := range clients {
			require.NoError(t, client.Stop(t.Context()))
		}
		l.arrive(server)
		l.keep(t, store)
		require.NoError(t, closeStore())
		l.noneLost(t)
		l.report(t, "two relays, a server that takes nine tenths of the timeout")
		assert.Empty(t, l.stored)
		assert.Zero(t, l.duplicates())
	})
}
