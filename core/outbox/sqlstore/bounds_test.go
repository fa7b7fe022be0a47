package sqlstore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// TestBoundOfSeveralStores shows what the documentation says of stores that
// share a table: each sees what the others did at its next count.
func TestBoundOfSeveralStores(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		first := opened(t, stand.open(t), stand.dialect, WithMaxRecords(10))
		second := another(t, first, WithMaxRecords(10))
		ctx := t.Context()
		require.NoError(t, first.Insert(ctx, 0, messages(t, 6)...))
		require.ErrorIs(t, second.Insert(ctx, 0, messages(t, 5)...), outbox.ErrFull, "it counts before its first insert")
		require.NoError(t, second.Insert(ctx, 0, messages(t, 4)...))
		require.NoError(t, first.Insert(ctx, 0, messages(t, 4)...), "its count is young: the bound is exceeded")
		require.ErrorIs(t, first.Insert(ctx, 0, message(t)), outbox.ErrFull)
		assert.Len(t, stored(t, first), 14)

		_, err := second.Discard(ctx, outbox.Selection{All: true})
		require.NoError(t, err)
		require.NoError(t, second.Insert(ctx, 0, message(t)), "it knows what it has deleted")
		require.Eventually(t, func() bool { return first.Insert(ctx, 0, message(t)) == nil }, 30*time.Second, 50*time.Millisecond,
			"a store that is full looks again")
	})
}

// TestFullStoreDoesNotCount shows that refusing is cheap: a full store that
// deletes nothing counts once in a while, not at every insert.
func TestFullStoreDoesNotCount(t *testing.T) {
	store := opened(t, stands[0].open(t), Postgres, WithMaxRecords(1000), WithMaxBytes(1<<40))
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 1000)...))
	require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), outbox.ErrFull)
	counted := store.capacity.counted
	begin := time.Now()
	for range 50 {
		require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), outbox.ErrFull)
	}
	if time.Since(begin) < fullAge {
		assert.Equal(t, counted, store.capacity.counted)
	}
	claimed := claimed(t, store, 10)
	_, err := store.Delete(t.Context(), idsOf(claimed)...)
	require.NoError(t, err)
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 10)...))
	require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), outbox.ErrFull)
}

// TestFullWaitsForInsertsInFlight shows that an insert is not refused for
// another's sake that may yet fail.
func TestFullWaitsForInsertsInFlight(t *testing.T) {
	store := opened(t, stands[0].open(t), Postgres, WithMaxRecords(2))
	ctx := t.Context()
	blocked := message(t)
	tx, err := store.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	require.NoError(t, another(t, store).InsertTx(ctx, tx, blocked))

	gone, giveUp := context.WithCancel(ctx)
	first, second, two := make(chan error, 1), make(chan error, 1), messages(t, 2)
	go func() { first <- store.Insert(gone, 0, blocked) }()
	inGate := func(waiting, sharers int) func() bool {
		return func() bool {
			store.capacity.gate.mutex.Lock()
			defer store.capacity.gate.mutex.Unlock()
			return len(store.capacity.gate.queue) == waiting && store.capacity.gate.sharers == sharers
		}
	}
	require.Eventually(t, inGate(0, 1), 30*time.Second, time.Millisecond, "the first waits for the transaction")
	go func() { second <- store.Insert(ctx, 0, two...) }()
	require.Eventually(t, func() bool { return inGate(1, 1)() || len(second) > 0 }, 30*time.Second, time.Millisecond)
	giveUp()
	require.ErrorIs(t, <-first, context.Canceled)
	require.NoError(t, <-second)
}

// TestBoundOfInsertTx shows that a transaction counts whether it commits or
// not, until the next count.
func TestBoundOfInsertTx(t *testing.T) {
	onEach(t, append(stands, variants[2]), func(t *testing.T, stand stand) {
		for name, option := range map[string]Option{"records": WithMaxRecords(5), "bytes": WithMaxBytes(5 * message(t).Size())} {
			store := opened(t, stand.open(t), stand.dialect, option)
			ctx := t.Context()
			insert := func(n int) error {
				tx, err := store.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				defer func() { require.NoError(t, tx.Rollback()) }()
				return store.InsertTx(ctx, tx, messages(t, n)...)
			}
			require.NoError(t, store.Insert(ctx, 0, message(t)))
			require.ErrorIs(t, insert(5), outbox.ErrFull, name)
			require.NoError(t, insert(4), name)
			require.Eventually(t, func() bool { return insert(4) == nil }, 30*time.Second, 50*time.Millisecond,
				"%s: what was rolled back is counted off", name)
			require.NoError(t, store.Insert(ctx, 0, messages(t, 4)...), "%s: an insert makes sure", name)
			assert.Len(t, stored(t, store), 5)
		}
	})
}

// TestFirstInsertTxCounts shows that a store which only ever inserts in
// transactions knows its bound.
func TestFirstInsertTxCounts(t *testing.T) {
	first := opened(t, stands[0].open(t), Postgres)
	require.NoError(t, first.Insert(t.Context(), 0, messages(t, 5)...))
	second := another(t, first, WithMaxRecords(5))
	tx, err := second.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	require.ErrorIs(t, second.InsertTx(t.Context(), tx, message(t)), outbox.ErrFull)
}

// TestEstimate shows that the estimate is never below the truth, whatever
// happens while the table is being counted.
func TestEstimate(t *testing.T) {
	one := usage{1, 10}
	r := newCapacity(10, 0)
	count := func(found int64, during func()) {
		start, ok := r.begin(false)
		require.True(t, ok)
		_, again := r.begin(false)
		require.False(t, again, "one at a time")
		during()
		r.end(start, usage{found, 10 * found}, nil)
	}
	known := func(records int64, over bool) {
		t.Helper()
		assert.Equal(t, records, r.known.records)
		assert.Equal(t, over, r.over)
	}
	count(3, func() {})
	known(3, false)
	require.NoError(t, r.reserve(one)) // in flight when the count begins
	count(3, func() {
		r.settle(one, kept)
		require.NoError(t, r.reserve(one))
		r.settle(one, dropped)
		r.removed(1, 1, 10, nil)
	})
	known(5, true)
	count(4, func() {})
	known(4, false)
	require.NoError(t, r.reserve(one))
	r.settle(one, unclear)
	known(5, true)
	r.removed(7, 0, 0, nil)
	known(0, true)
	start, _ := r.begin(true)
	r.end(start, usage{}, context.Canceled)
	known(0, true)
}
