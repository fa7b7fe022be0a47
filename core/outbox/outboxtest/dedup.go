package outboxtest

import (
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// dedupTests are about records with a DedupKey.
var dedupTests = map[string]func(*env){
	"RoundTrip":       testKeyRoundTrip,
	"OneHolder":       testOneHolder,
	"FreedByDelete":   testFreedByDelete,
	"WithinCall":      testKeyWithinCall,
	"Repeated":        testRepeatedWithKey,
	"Concurrently":    testKeyConcurrently,
	"HeldByID":        testKeyHeldByID,
	"Query":           testKeyQuery,
	"BytesCount":      testKeysAreBytes,
	"StaleIDsMissIt":  testStaleIDs,
	"LeftOutIsNoHold": testLeftOutHoldsNothing,
}

// keyed creates a record of the topic with a key.
func (e *env) keyed(key string) outbox.Record {
	e.Helper()
	record := e.record(topic)
	record.DedupKey = key
	return record
}

// holders lists the records that hold a key.
func (e *env) holders(query outbox.Query) []string {
	e.Helper()
	return ids(e.list(query))
}

// holder returns the ID of the record that holds a key, empty if none does.
func (e *env) holder(key string) string {
	e.Helper()
	holders := e.holders(outbox.Query{DedupKey: key, MaxPayload: -1})
	require.LessOrEqual(e, len(holders), 1)
	return strings.Join(holders, "")
}

func testKeyRoundTrip(e *env) {
	e.opened()
	keyed, plain := e.keyed("key"), e.record(topic)
	e.insert(keyed, plain)
	for _, got := range [][]outbox.Record{e.all(), e.claim(10, long)} {
		require.Equal(e, ids([]outbox.Record{keyed, plain}), ids(got))
		assert.Equal(e, "key", got[0].DedupKey)
		assert.Empty(e, got[1].DedupKey)
	}
	assert.Equal(e, size(keyed, plain), e.stats().Bytes, "a key has no size")
}

// testOneHolder tests that a record holds its key in each of its states.
func testOneHolder(e *env) {
	e.opened()
	first := e.keyed("key")
	e.insert(first)
	refused := func(state string) {
		e.Helper()
		before := e.find(first.ID)
		other := e.keyed("other " + state)
		e.insert(e.keyed("key"), other)
		assert.Equal(e, before, e.find(first.ID), "the holder is left as it was, %s", state)
		assert.Equal(e, first.ID, e.holder("key"), state)
		assert.Equal(e, other.ID, e.holder("other "+state), "the record beside it is inserted")
		n, err := e.store.Delete(e.ctx, other.ID)
		require.NoError(e, err)
		require.Equal(e, 1, n)
		assert.Len(e, e.all(), 1)
		assert.Equal(e, size(first), e.stats().Bytes)
	}
	refused("pending")
	claimed := e.claimOne(long)
	refused("claimed")
	e.reschedule(1, change(claimed, long))
	refused("rescheduled")
	_, err := e.store.Retry(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	refused("retried")
	claimed = e.claimOne(long)
	e.reschedule(1, outbox.Change{ID: claimed.ID, LeaseToken: claimed.LeaseToken, Dead: true})
	refused("dead")
}

func testFreedByDelete(e *env) {
	e.opened()
	remove := map[string]func(id string) (int, error){
		"Delete":        func(id string) (int, error) { return e.store.Delete(e.ctx, id) },
		"Discard":       func(id string) (int, error) { return e.store.Discard(e.ctx, outbox.Selection{IDs: []string{id}}) },
		"Discard topic": func(string) (int, error) { return e.store.Discard(e.ctx, outbox.Selection{Topic: topic}) },
		"Discard all":   func(string) (int, error) { return e.store.Discard(e.ctx, outbox.Selection{All: true}) },
	}
	for how, remove := range remove {
		first, second := e.keyed("key"), e.keyed("key")
		e.insert(first)
		n, err := remove(first.ID)
		require.NoError(e, err)
		require.Equal(e, 1, n)
		assert.Empty(e, e.holder("key"), how)
		e.insert(second)
		assert.Equal(e, second.ID, e.holder("key"), how)
		_, err = e.store.Delete(e.ctx, second.ID)
		require.NoError(e, err)
	}
}

func testKeyWithinCall(e *env) {
	e.opened()
	// Others between them, so that a store that works in steps needs several.
	first, again, named := e.keyed("key"), e.keyed("key"), e.record(topic)
	named.ID = "named"
	records := append([]outbox.Record{first, named}, e.records(600)...)
	records = append(records, again, e.keyed("named"))
	e.insert(records...)
	want := records[:len(records)-2]
	assert.ElementsMatch(e, ids(want), ids(e.all()))
	assert.Equal(e, first.ID, e.holder("key"), "the first of them counts")
	assert.Equal(e, named.ID, e.holder("named"), "an ID counts like a key")
	assert.Equal(e, size(want...), e.stats().Bytes)
}

func testRepeatedWithKey(e *env) {
	e.opened()
	record, plain := e.keyed("key"), e.record(topic)
	for range 3 {
		e.insert(record, plain)
	}
	assert.Equal(e, ids([]outbox.Record{record, plain}), ids(e.all()))
	assert.Equal(e, size(record, plain), e.stats().Bytes)
}

func testKeyConcurrently(e *env) {
	e.opened()
	const keys, workers = 10, 16
	records := make([]outbox.Record, keys*workers)
	for i := range records {
		records[i] = e.keyed("key " + string(rune('a'+i%keys)))
	}
	errs := make(chan error, len(records))
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range keys {
				errs <- e.store.Insert(e.ctx, 0, records[worker*keys+(i+worker)%keys])
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(e, err)
	}
	all := e.all()
	held := make(map[string]bool)
	for _, record := range all {
		held[record.DedupKey] = true
	}
	assert.Len(e, all, keys)
	assert.Len(e, held, keys)
	assert.Equal(e, size(all...), e.stats().Bytes)
}

// testKeyHeldByID is about records of an earlier release, whose ID is the key and
// which have no DedupKey.
func testKeyHeldByID(e *env) {
	e.opened()
	earlier, second := e.record(topic), e.keyed("key")
	earlier.ID = "key"
	e.insert(earlier)
	e.insert(second)
	assert.Equal(e, []string{"key"}, ids(e.all()))
	assert.Equal(e, "key", e.holder("key"))
	claimed := e.claimOne(long)
	assert.Equal(e, "key", claimed.ID)
	assert.Empty(e, claimed.DedupKey)
	n, err := e.store.Delete(e.ctx, "key")
	require.NoError(e, err)
	require.Equal(e, 1, n)
	e.insert(second)
	assert.Equal(e, second.ID, e.holder("key"))
}

func testKeyQuery(e *env) {
	e.opened()
	pending, dead := outbox.Pending, outbox.Dead
	first, second := e.keyed("first"), e.keyed("second")
	second.State = outbox.Dead
	e.insert(append(e.records(3), first, second)...)
	for _, c := range []struct {
		query outbox.Query
		want  string
	}{
		{outbox.Query{DedupKey: "first"}, first.ID},
		{outbox.Query{DedupKey: "second"}, second.ID},
		{outbox.Query{DedupKey: "third"}, ""},
		{outbox.Query{DedupKey: first.ID}, first.ID},
		{outbox.Query{DedupKey: "first", State: &pending, Topic: topic, IDs: []string{first.ID, second.ID}}, first.ID},
		{outbox.Query{DedupKey: "first", State: &dead}, ""},
		{outbox.Query{DedupKey: "second", State: &dead}, second.ID},
		{outbox.Query{DedupKey: "first", Topic: "another"}, ""},
		{outbox.Query{DedupKey: "first", IDs: []string{second.ID}}, ""},
		{outbox.Query{DedupKey: "first", After: first.ID}, ""},
		{outbox.Query{DedupKey: "second", After: first.ID, Limit: 1}, second.ID},
	} {
		assert.Equal(e, c.want, strings.Join(e.holders(c.query), " "), "%+v", c.query)
	}
}

func testKeysAreBytes(e *env) {
	e.opened()
	keys := []string{"key", "Key", "key ", " key", "kéy", "ke\u0301y", "'\"\\%_", strings.Repeat("k", outbox.MaxIDLength), "🐎"}
	for _, key := range keys {
		e.insert(e.keyed(key))
	}
	require.Len(e, e.all(), len(keys))
	for _, key := range keys {
		e.insert(e.keyed(key))
		assert.NotEmpty(e, e.holder(key), key)
	}
	assert.Len(e, e.all(), len(keys))
}

// testStaleIDs shows that the ID of a deleted record does not match the next record
// with its key.
func testStaleIDs(e *env) {
	e.opened()
	first, second := e.keyed("key"), e.keyed("key")
	e.insert(first)
	claimed := e.claimOne(long)
	n, err := e.store.Delete(e.ctx, first.ID)
	require.NoError(e, err)
	require.Equal(e, 1, n)
	e.insert(second)
	before := e.find(second.ID)

	stale := outbox.Selection{IDs: []string{first.ID}}
	for what, act := range map[string]func() (int, error){
		"Delete":     func() (int, error) { return e.store.Delete(e.ctx, first.ID) },
		"Reschedule": func() (int, error) { return e.store.Reschedule(e.ctx, change(claimed, long)) },
		"Count":      func() (int, error) { return e.store.Count(e.ctx, stale) },
		"Retry":      func() (int, error) { return e.store.Retry(e.ctx, stale) },
		"Discard":    func() (int, error) { return e.store.Discard(e.ctx, stale) },
	} {
		n, err := act()
		require.NoError(e, err, what)
		assert.Zero(e, n, what)
		assert.Equal(e, before, e.find(second.ID), what)
	}
}

// testLeftOutHoldsNothing repeats an insert of a record with another key.
func testLeftOutHoldsNothing(e *env) {
	e.opened()
	record := e.keyed("key")
	e.insert(record)
	again := record
	again.DedupKey = "another"
	e.insert(again)
	assert.Empty(e, e.holder("another"))
	other := e.keyed("another")
	e.insert(other)
	assert.Equal(e, other.ID, e.holder("another"))
	assert.Equal(e, record.ID, e.holder("key"))
}
