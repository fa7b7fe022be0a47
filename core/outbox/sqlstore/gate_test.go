package sqlstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGate shows that callers get the gate in the order in which they came.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		ctx := t.Context()
		require.NoError(t, g.share(ctx))
		require.NoError(t, g.share(ctx))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, g.hold(short), context.DeadlineExceeded)
		require.NoError(t, g.share(ctx), "who gave up keeps nobody out")
		g.leave()

		var order []string
		var group sync.WaitGroup
		group.Go(func() {
			require.NoError(t, g.hold(ctx))
			order = append(order, "holds")
			g.release()
		})
		synctest.Wait()
		group.Go(func() {
			require.NoError(t, g.share(ctx))
			order = append(order, "shares")
			g.leave()
		})
		synctest.Wait()
		g.leave()
		synctest.Wait()
		assert.Empty(t, order, "one still shares")
		g.leave()
		group.Wait()
		assert.Equal(t, []string{"holds", "shares"}, order, "who wants to hold it comes before those who came later")

		require.NoError(t, g.hold(ctx))
		short, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, g.share(short), context.DeadlineExceeded)
		g.release()
		require.NoError(t, g.hold(ctx))
		g.release()
	})
}

// TestGateInOrder shows that those who want to hold the gate do so in the order
// in which they came, and that who gives up keeps nobody back.
func TestGateInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		require.NoError(t, g.hold(t.Context()))
		var order []string
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				require.NoError(t, g.hold(t.Context()))
				order = append(order, fmt.Sprint(i))
				g.release()
			})
			synctest.Wait()
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			group.Go(func() {
				defer cancel()
				require.ErrorIs(t, g.hold(gone), context.DeadlineExceeded)
			})
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		g.release()
		group.Wait()
		for i, who := range order {
			assert.Equal(t, fmt.Sprint(i), who)
		}
		require.Len(t, order, 20)

		require.NoError(t, g.share(t.Context()))
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		group.Go(func() { require.ErrorIs(t, g.hold(gone), context.DeadlineExceeded) })
		synctest.Wait()
		require.NoError(t, g.share(t.Context()), "who shares does not wait for who has given up")
		group.Wait()
	})
}

// TestSQLiteTakesTurns shows that no insert waits for long while others come
// and go: SQLite alone lets nearly all others pass one that waits.
func TestSQLiteTakesTurns(t *testing.T) {
	store := opened(t, openSQLite(t, sqliteFile(t)), SQLite)
	const workers, inserts = 32, 40
	var ended, passed atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range inserts {
				before := ended.Load()
				assert.NoError(t, store.Insert(t.Context(), 0, message(t)))
				others := ended.Add(1) - before - 1
				for most := passed.Load(); others > most && !passed.CompareAndSwap(most, others); most = passed.Load() {
				}
			}
		})
	}
	group.Wait()
	assert.Less(t, passed.Load(), int64(workers*inserts/4), "inserts that came later and ended earlier than one of them")
}
