package sqlite

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// TestWallClockMayBeSet has the wall clock moved by ten minutes since the
// store was opened: leases, delays and due messages must not follow it, and
// scheduled messages must.
func TestWallClockMayBeSet(t *testing.T) {
	for name, moved := range map[string]time.Duration{"forward": 10 * time.Minute, "back": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			store := opened(t, file(t))
			store.clock.wall = store.clock.wall.Add(-moved)
			next := func(want time.Duration) {
				t.Helper()
				wait, pending, err := store.Next(t.Context())
				require.NoError(t, err)
				assert.True(t, pending)
				assert.InDelta(t, want.Seconds(), wait.Seconds(), 30)
			}
			claim := func(skipScheduled bool) []outbox.Record {
				t.Helper()
				claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 10, Lease: 2 * time.Minute, SkipScheduled: skipScheduled})
				require.NoError(t, err)
				return claimed
			}
			require.NoError(t, store.Insert(t.Context(), time.Minute, message(t)))
			next(time.Minute)
			assert.Empty(t, claim(false))
			_, err := store.Retry(t.Context(), outbox.Selection{All: true})
			require.NoError(t, err)
			claimed := claim(false)
			require.Len(t, claimed, 1)
			next(2 * time.Minute)
			stats, err := store.Stats(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 1, stats.Held)
			change := outbox.Change{ID: claimed[0].ID, LeaseToken: claimed[0].LeaseToken, After: 3 * time.Minute}
			_, err = store.Reschedule(t.Context(), change)
			require.NoError(t, err)
			next(3 * time.Minute)
			assert.Empty(t, claim(false))

			soon, past := message(t), message(t)
			soon.DeliverAt, past.DeliverAt = time.Now().Add(time.Minute), time.Now().Add(-time.Minute)
			require.NoError(t, store.Insert(t.Context(), 0, soon, past))
			claimed = claim(true)
			require.Len(t, claimed, 1)
			assert.Equal(t, past.ID, claimed[0].ID)
		})
	}
}
