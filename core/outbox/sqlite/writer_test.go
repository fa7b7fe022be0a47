package sqlite

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// unserved opens a store whose requests the test serves itself.
func unserved(t *testing.T, options ...Option) *Store {
	t.Helper()
	store, err := open(t.Context(), file(t), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.writer.close()) })
	return store
}

// inserting makes the request of an Insert.
func inserting(ctx context.Context, records ...outbox.Record) *request {
	return &request{ctx: ctx, done: make(chan error, 1), run: func(w *writer) error {
		err := w.insertAll(0, records, make([]bool, len(records)))
		return err
	}}
}

// kept returns the IDs in an unserved store.
func kept(t *testing.T, store *Store) []string {
	t.Helper()
	ids := []string{}
	require.NoError(t, store.writer.rows("SELECT id FROM outbox ORDER BY id", nil, func(scan func(...any) error) (bool, error) {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return true, err
	}))
	return ids
}

// TestWaitingCallsAreOneGroup holds the writer back until many calls wait.
func TestWaitingCallsAreOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := unserved(t)
		records := messages(t, maxGroup+10)
		results := make(chan error, len(records))
		for _, record := range records {
			go func() { results <- store.Insert(t.Context(), 0, record) }()
		}
		synctest.Wait()
		first := store.gather(<-store.requests)
		assert.Len(t, first, maxGroup, "a group is bounded")
		store.serve(first)
		second := store.gather(<-store.requests)
		assert.Len(t, second, 10, "all the rest")
		store.serve(second)
		for range records {
			require.NoError(t, <-results)
		}
		assert.Len(t, kept(t, store), len(records))
		assert.Equal(t, len(records), store.writer.counts.pending)
	})
}

// TestGroupIsOneTransaction sees from a group's last member that the work of
// the first is not committed yet.
func TestGroupIsOneTransaction(t *testing.T) {
	store := unserved(t)
	records := messages(t, 2)
	group := []*request{inserting(t.Context(), records[0]), inserting(t.Context(), records[1])}
	last := &request{ctx: t.Context(), done: make(chan error, 1), run: func(w *writer) error {
		assert.Len(t, kept(t, store), 2)
		_, err := w.conn.ExecContext(t.Context(), "ROLLBACK")
		assert.NoError(t, err)
		assert.Empty(t, kept(t, store))
		return errors.New("rolled back")
	}}
	require.ErrorContains(t, store.writer.attempt(append(group, last)), "rolled back")
	assert.Zero(t, store.writer.counts)
}

func TestOneOfAGroupFails(t *testing.T) {
	store := unserved(t)
	records := messages(t, 4)
	broken := errors.New("broken")
	bad := inserting(t.Context(), records[1])
	insert := bad.run
	bad.run = func(w *writer) error { return errors.Join(insert(w), broken) }
	group := []*request{inserting(t.Context(), records[0]), bad, inserting(t.Context(), records[2:]...)}
	store.serve(group)
	require.NoError(t, <-group[0].done)
	require.ErrorIs(t, <-bad.done, broken)
	require.NoError(t, <-group[2].done)
	assert.Equal(t, []string{records[0].ID, records[2].ID, records[3].ID}, kept(t, store))
	assert.Equal(t, 3, store.writer.counts.pending)
	assert.Equal(t, 3*records[0].Size(), store.writer.counts.bytes)
}

func TestContextEndsInAGroup(t *testing.T) {
	store := unserved(t)
	records := messages(t, 3)
	before, cancelBefore := context.WithCancel(t.Context())
	during, cancelDuring := context.WithCancel(t.Context())
	defer cancelDuring()
	late := inserting(during, records[2])
	insert := late.run
	late.run = func(w *writer) error {
		cancelDuring()
		return insert(w)
	}
	group := []*request{inserting(before, records[0]), inserting(t.Context(), records[1]), late}
	cancelBefore()
	store.serve(group)
	require.ErrorIs(t, <-group[0].done, context.Canceled, "it was not begun with")
	require.NoError(t, <-group[1].done)
	require.NoError(t, <-late.done, "what was begun with has its outcome as result")
	assert.Equal(t, []string{records[1].ID, records[2].ID}, kept(t, store))

	reading, cancel := context.WithCancel(t.Context())
	cancel()
	read := &request{ctx: reading, reads: true, done: make(chan error, 1), run: func(*writer) error { return nil }}
	store.serve([]*request{read})
	require.ErrorIs(t, <-read.done, context.Canceled)
}

// blocked starts a call that the writer is busy with until release is
// closed.
func blocked(t *testing.T, store *Store) (release chan struct{}, result chan error) {
	t.Helper()
	release, result = make(chan struct{}), make(chan error, 1)
	go func() {
		result <- store.write(t.Context(), func(w *writer) error {
			<-release
			return nil
		})
	}()
	synctest.Wait()
	return release, result
}

func TestContextEndsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := opened(t, file(t))
		release, result := blocked(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		record := message(t)
		go func() { waiting <- store.Insert(ctx, 0, record) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-waiting, context.Canceled, "at once, though the writer is busy")
		close(release)
		require.NoError(t, <-result)
		assert.Empty(t, stored(t, store))
	})
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := opened(t, file(t))
		release, result := blocked(t, store)
		waiting := make(chan error, 1)
		record := message(t)
		go func() { waiting <- store.Insert(t.Context(), 0, record) }()
		synctest.Wait()
		closings := make(chan error, 2)
		for range 2 {
			go func() { closings <- store.Close() }()
		}
		synctest.Wait()
		require.ErrorIs(t, <-waiting, outbox.ErrClosed, "what was not begun with is refused")
		assert.Empty(t, closings, "Close waits for what was begun with")
		close(release)
		require.NoError(t, <-result)
		require.NoError(t, <-closings)
		require.NoError(t, <-closings)
	})
}
