package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// pages counts the queries that reach a store.
type pages struct {
	outbox.Store
	queries []outbox.Query
	failure error // of all pages but the first
}

func (p *pages) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	p.queries = append(p.queries, query)
	if p.failure != nil && len(p.queries) > 1 {
		return nil, p.failure
	}
	return p.Store.List(ctx, query)
}

// newPages returns a store with records of ascending IDs: of the topic orders,
// every third dead.
func newPages(t *testing.T, n int) (*pages, []string) {
	t.Helper()
	store := memory.New()
	var ids []string
	for i := range n {
		id := fmt.Sprintf("%06d", i)
		ids = append(ids, id)
		record := outbox.Record{ID: id, Topic: "orders", Payload: []byte(`{"n":1}`), Attributes: []byte("{}")}
		if i%3 == 0 {
			record.State = outbox.Dead
		}
		require.NoError(t, store.Insert(t.Context(), 0, record))
	}
	return &pages{Store: store}, ids
}

func visit(ctx context.Context, from outbox.Lister, query outbox.Query) (ids []string, failed error) {
	for entry, err := range outbox.All(ctx, from, query) {
		if err != nil {
			failed = err
			continue // nothing comes after an error
		}
		ids = append(ids, entry.ID)
	}
	return ids, failed
}

func TestAllVisitsEachRecordOnce(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 101, 200, 1050} {
		store, want := newPages(t, n)
		ids, err := visit(t.Context(), store, outbox.Query{})
		require.NoError(t, err)
		assert.Equal(t, want, ids)
		assert.Len(t, store.queries, n/100+1)
		for _, query := range store.queries {
			assert.Equal(t, 100, query.Limit)
		}
	}
}

func TestAllHeedsTheQuery(t *testing.T) {
	store, ids := newPages(t, 1200)
	dead := outbox.Dead
	var want []string
	for i := 300; i < 1200; i += 3 {
		want = append(want, ids[i])
	}
	found, err := visit(t.Context(), store, outbox.Query{State: &dead, After: ids[299]})
	require.NoError(t, err)
	assert.Equal(t, want, found)

	found, err = visit(t.Context(), store, outbox.Query{IDs: []string{ids[7], ids[3], "unknown"}})
	require.NoError(t, err)
	assert.Equal(t, []string{ids[3], ids[7]}, found)

	for entry, err := range outbox.All(t.Context(), store, outbox.Query{Limit: 1, MaxPayload: 2}) {
		require.NoError(t, err)
		assert.Equal(t, `{"`, string(entry.Payload))
		assert.Equal(t, 7, entry.PayloadSize)
	}
}

// TestAllBoundsThePages has a limit that is no multiple of a page.
func TestAllBoundsThePages(t *testing.T) {
	store, ids := newPages(t, 1200)
	all := outbox.All(t.Context(), store, outbox.Query{Limit: 700, MaxPayload: -1})
	for range 2 { // an iterator can be used again
		store.queries = nil
		var found []string
		for entry, err := range all {
			require.NoError(t, err)
			assert.Nil(t, entry.Payload)
			found = append(found, entry.ID)
		}
		assert.Equal(t, ids[:700], found)
		require.Len(t, store.queries, 2)
		assert.Equal(t, []int{500, 200}, []int{store.queries[0].Limit, store.queries[1].Limit})
	}
}

func TestAllEndsEarly(t *testing.T) {
	store, ids := newPages(t, 300)
	var found []string
	for entry, err := range outbox.All(t.Context(), store, outbox.Query{}) {
		require.NoError(t, err)
		if found = append(found, entry.ID); len(found) == 100 {
			break
		}
	}
	assert.Equal(t, ids[:100], found)
	assert.Len(t, store.queries, 1, "the next page is fetched when it is asked for")
}

func TestAllEndsWithAnError(t *testing.T) {
	store, ids := newPages(t, 300)
	store.failure = errors.New("the disk is full")
	found, err := visit(t.Context(), store, outbox.Query{})
	assert.ErrorIs(t, err, store.failure)
	assert.Equal(t, ids[:100], found)
	assert.Len(t, store.queries, 2)

	found, err = visit(t.Context(), store, outbox.Query{Limit: -1})
	assert.ErrorIs(t, err, outbox.ErrInvalid)
	assert.ErrorContains(t, err, "Query.Limit is -1")
	assert.Empty(t, found)
	assert.Len(t, store.queries, 2, "the store is not asked")
}

func TestAllEndsWithTheContext(t *testing.T) {
	store, ids := newPages(t, 300)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var found []string
	var failed error
	for entry, err := range outbox.All(ctx, store, outbox.Query{}) {
		if err != nil {
			failed = err
			continue
		}
		if found = append(found, entry.ID); len(found) == 50 {
			cancel()
		}
	}
	assert.ErrorIs(t, failed, context.Canceled)
	assert.Equal(t, ids[:50], found, "also within a page")

	found, failed = visit(ctx, store, outbox.Query{})
	assert.ErrorIs(t, failed, context.Canceled)
	assert.Empty(t, found)
	assert.Len(t, store.queries, 1)
}

func ExampleAll() {
	ctx := context.Background()
	store := memory.New()
	for _, id := range []string{"1", "2", "3"} {
		record := outbox.Record{ID: id, Topic: "orders", Payload: []byte("{}"), Attributes: []byte("{}")}
		if err := store.Insert(ctx, 0, record); err != nil {
			fmt.Println(err)
		}
	}
	for entry, err := range outbox.All(ctx, store, outbox.Query{Topic: "orders"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(entry.ID, entry.State)
	}
	// Output:
	// 1 pending
	// 2 pending
	// 3 pending
}
