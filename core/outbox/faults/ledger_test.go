//go:build unix

package faults

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// ledger counts messages: the accepted, the arrived and the stored ones.
type ledger struct {
	accepted map[string]bool
	arrived  map[string]int
	stored   map[string]int
	// twice tells how often a message may arrive beyond the first time,
	// because it was between post and deletion when a fault happened, or
	// because an answer was missing.
	twice map[string]int
}

func newLedger() *ledger {
	return &ledger{accepted: map[string]bool{}, arrived: map[string]int{}, stored: map[string]int{}, twice: map[string]int{}}
}

// accept notes what an app has accepted. What got no answer may arrive once
// more, and, if the app was killed, what it had in flight.
func (l *ledger) accept(p *process, killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, state := range p.accepted {
		l.accepted[id] = true
		if state == core.Delivered.String() {
			delete(p.posted, id) // it has no row
		}
	}
	for id, times := range p.missing {
		l.twice[id] += times
	}
	if killed {
		for id := range p.posted {
			l.twice[id]++
		}
	}
}

// arrive notes what has arrived at a server.
func (l *ledger) arrive(s *office) {
	for _, message := range s.Messages() {
		l.arrived[idOf(message.Payload)]++
	}
}

// keep notes the messages in the store.
func (l *ledger) keep(t *testing.T, store outbox.Store) {
	t.Helper()
	clear(l.stored)
	for _, record := range list(t, store) {
		l.stored[idOf(record.Payload)]++
	}
}

// list returns all records of a store.
func list(t *testing.T, store outbox.Store) []outbox.Entry {
	t.Helper()
	var entries []outbox.Entry
	query := outbox.Query{Limit: 1000}
	for {
		page, err := store.List(context.Background(), query)
		require.NoError(t, err)
		entries = append(entries, page...)
		if len(page) < query.Limit {
			return entries
		}
		query.After = page[len(page)-1].ID
	}
}

// lost returns the messages that were accepted, have not arrived, and are
// not stored.
func (l *ledger) lost() []string {
	var lost []string
	for id := range l.accepted {
		if l.arrived[id] == 0 && l.stored[id] == 0 {
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
	return lost
}

// duplicates counts the arrivals beyond the first one of each message.
func (l *ledger) duplicates() int {
	n := 0
	for _, times := range l.arrived {
		n += times - 1
	}
	return n
}

// tooMany returns the messages that arrived more often than the faults
// explain.
func (l *ledger) tooMany() []string {
	var ids []string
	for id, times := range l.arrived {
		if times > 1+l.twice[id] {
			ids = append(ids, fmt.Sprintf("%s, %d times instead of %d", id, times, 1+l.twice[id]))
		}
	}
	slices.Sort(ids)
	return ids
}

// noneLost fails the test if a message was lost.
func (l *ledger) noneLost(t *testing.T) {
	t.Helper()
	require.Empty(t, l.lost(), "messages that were accepted, have not arrived and are not stored")
}

// report writes what a fault has shown into the log of the test.
func (l *ledger) report(t *testing.T, about string, args ...any) {
	t.Helper()
	t.Logf("RESULT %s: %s: accepted %d, delivered %d, stored %d, lost %d, duplicates %d",
		t.Name(), fmt.Sprintf(about, args...), len(l.accepted), len(l.arrived), len(l.stored), len(l.lost()), l.duplicates())
}

// drain delivers what a store holds, within the test's own process, and
// returns when it is empty. The stored messages are due at once or when the
// lease of an app that is gone has ended.
func drain(t *testing.T, k kind, place string, server *office, lease time.Duration) {
	t.Helper()
	store, closeStore, err := k.open(t.Context(), place, nil)
	require.NoError(t, err)
	client, err := core.NewClient(app{Server: server.URL(), Lease: lease}.config(nil, store))
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))
	empty := assert.Eventually(t, func() bool {
		stats, err := store.Stats(context.Background())
		return assert.NoError(t, err) && stats.Pending == 0
	}, patience, 10*time.Millisecond, "what is stored is delivered")
	assert.NoError(t, client.Stop(context.Background()))
	assert.NoError(t, closeStore())
	require.True(t, empty)
}
