//go:build unix

package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
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

const (
	unknownTopic = "not-there"
	poisonID     = "r-1234"
)

// isPoison tells the message on which the server fails, whatever it comes
// with.
func isPoison(_ *http.Request, body []byte) (int, bool) {
	return http.StatusInternalServerError, bytes.Contains(body, []byte(`"`+poisonID+`"`))
}

// TestPoisonHoldsNobodyBack puts 200 messages of a topic that the server does
// not have before 3000 others, one of which the server cannot take. All
// others are delivered soon, by the time of a bubble.
func TestPoisonHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	server := newOffice(t)
	server.FailWhen(isPoison)
	synctest.Test(t, func(t *testing.T) {
		const unknown, messages, within = 200, 3000, 5 * time.Second
		store := memory.New()
		l := newLedger()
		fill(t, store, l, unknown, messages)

		config := app{Server: "http://postoffice.test"}.config(nil, store)
		config.HTTPClient = &http.Client{Transport: direct{server.Handler(), 0}}
		client, err := core.NewClient(config)
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, client.Start(t.Context()))
		for server.distinct() < messages-1 && time.Since(begun) < time.Minute {
			time.Sleep(10 * time.Millisecond) // of the bubble
		}
		took := time.Since(begun)
		// The poison is tried again and again, and never comes.
		time.Sleep(10 * time.Minute)
		require.NoError(t, client.Stop(t.Context()))

		l.arrive(server)
		l.keep(t, store)
		l.noneLost(t)
		l.report(t, "all healthy messages delivered after %v", took)
		assert.Len(t, l.arrived, messages-1)
		assert.LessOrEqual(t, took, within)
		assert.Len(t, l.stored, unknown+1, "those of the unknown topic and the poison stay")
		assert.Zero(t, l.duplicates())
	})
}

// fill stores messages of a topic that the server does not have, and, due
// later, others.
func fill(t *testing.T, store outbox.Store, l *ledger, unknown, messages int) {
	t.Helper()
	records := newRecords("unknown", 0, unknown)
	for i := range records {
		records[i].Topic = unknownTopic
	}
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	others := newRecords("r", 0, messages)
	require.NoError(t, store.Insert(t.Context(), time.Millisecond, others...))
	for _, record := range append(records, others...) {
		l.accepted[idOf(record.Payload)] = true
	}
}

// TestRecoveryListReachesHealthyMessages has the server fetch the stored messages,
// without a relay. Its rescuer ends a run at the first message that it cannot
// take, and yet comes to the others.
func TestRecoveryListReachesHealthyMessages(t *testing.T) {
	t.Parallel()
	const unknown, messages = 200, 500
	server, l := newOffice(t), newLedger()
	store := memory.New()
	fill(t, store, l, unknown, messages)
	config := app{Server: server.URL()}.config(nil, store)
	client, err := core.NewClient(config)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Stop(t.Context())) }()
	origin := httptest.NewServer(client.RecoveryHandler())
	defer origin.Close()
	address, err := url.Parse(origin.URL + core.DefaultRecoveryPath)
	require.NoError(t, err)
	address.User = url.UserPassword("user", "secret")
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "recovered", OriginHost: address.String(), RecoveryEnabled: true}))

	lists := 0
	for ; server.distinct() < messages && lists < 20; lists++ {
		server.RunRescuer(t.Context())
	}
	l.arrive(server)
	l.keep(t, store)
	l.noneLost(t)
	l.report(t, "%d runs of the rescuer", lists)
	assert.Len(t, l.arrived, messages, fmt.Sprint(server.RescuerRuns()))
	assert.Zero(t, l.duplicates())
	assert.Len(t, l.stored, unknown)
}
