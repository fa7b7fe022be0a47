//go:build unix

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// TestCrashPoints has an app kill itself at a named point on the way of a
// message, again and again on the same outbox. Only what was in flight at
// that moment, posted and not deleted, may arrive twice, and only once more
// for each time.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for _, point := range crashPoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			eachStore(t, nil, func(t *testing.T, k kind) { crashAt(t, k, point) })
		})
	}
}

func crashAt(t *testing.T, k kind, point string) {
	const lease = 2 * time.Second
	times := byForm(20, 2)
	place, server, l := k.create(t), newOffice(t), newLedger()
	// Some single messages go to the outbox, for the relay to claim.
	server.FailWhen(func(r *http.Request, _ []byte) (int, bool) {
		return http.StatusServiceUnavailable, r.URL.Path == "/api/messages" && rand.IntN(3) == 0
	})
	for round := range times {
		seed(t, k, place, l, fmt.Sprint("seed", round), 60)
		p := start(t, app{
			Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint("r", round),
			Publishers: 4, Modes: []core.Mode{core.Durable, core.Off}, Rate: 500, Lease: lease,
			Watched: true, Crash: point, CrashAt: 1 + rand.IntN(byForm(10, 3)),
		})
		until(t, p.exited, "the app has come to the point")
		require.EqualError(t, p.wait(), "signal: killed")
		require.Empty(t, p.refused)
		l.accept(p, true)
	}
	server.FailWhen(nil)
	drain(t, k, place, server, lease)
	l.arrive(server)
	look(t, k, place, l)
	l.report(t, "crashed %d times", times)
	assert.Empty(t, l.stored)
	assert.Empty(t, l.tooMany())
	if point == afterAnswer {
		assert.GreaterOrEqual(t, l.duplicates(), times, "what was answered and not deleted is posted again")
	}
}

// seed stores messages that are due at once.
func seed(t *testing.T, k kind, place string, l *ledger, run string, messages int) {
	t.Helper()
	seedDue(t, k, place, l, run, messages, time.Time{})
}

// seedDue stores messages that are due at a time, or at once if it has passed.
func seedDue(t *testing.T, k kind, place string, l *ledger, run string, messages int, due time.Time) {
	t.Helper()
	store, closeStore, err := k.open(t.Context(), place, nil)
	require.NoError(t, err)
	for start := 0; start < messages; start += 1000 {
		records := newRecords(run, start, min(start+1000, messages))
		require.NoError(t, store.Insert(context.Background(), max(time.Until(due), 0), records...))
		for _, record := range records {
			l.accepted[idOf(record.Payload)] = true
		}
	}
	require.NoError(t, closeStore())
}

// newRecords makes records with the numbers from first to before end.
func newRecords(run string, first, end int) []outbox.Record {
	records := make([]outbox.Record, 0, end-first)
	for n := first; n < end; n++ {
		records = append(records, outbox.Record{
			ID:         uuid.Must(uuid.NewV7()).String(),
			Topic:      topic,
			Payload:    encode(newPayload(fmt.Sprintf("%s-%d", run, n))),
			Attributes: []byte("{}"),
		})
	}
	return records
}
