package outboxtest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// keepTests are about stores that remember keys.
var keepTests = map[string]func(*env){
	"Finish":       testFinish,
	"Invisible":    testKeptIsNoRecord,
	"Forget":       testForget,
	"Many":         testFinishMany,
	"InsertNew":    testInsertNew,
	"Concurrently": testFinishConcurrently,
	"Bounds":       testKeptNeedsNoCapacity,
	"Durable":      testKeptIsDurable,
	"Misuse":       testKeepMisuse,
	"Reserved":     testReservedID,
}

// keeper opens the store of the test, and skips the test if it is not a keeper.
func (e *env) keeper() outbox.Keeper {
	e.Helper()
	e.opened()
	return storeAs[outbox.Keeper](e, "outbox.Keeper")
}

// storeAs returns the opened store as a T, and skips the test if it is none.
func storeAs[T any](e *env, name string) T {
	e.Helper()
	store, ok := e.store.(T)
	if !ok {
		e.Skip("the store is not an " + name)
	}
	return store
}

// finish finishes records and expects the given number to have existed.
func (e *env) finish(want int, keep time.Duration, ids ...string) {
	e.Helper()
	n, err := e.store.(outbox.Keeper).Finish(e.ctx, keep, ids...)
	require.NoError(e, err)
	require.Equal(e, want, n, "records that were finished")
}

// forget forgets keys and expects the given number.
func (e *env) forget(want, limit int) {
	e.Helper()
	n, err := e.store.(outbox.Keeper).Forget(e.ctx, limit)
	require.NoError(e, err)
	require.Equal(e, want, n, "keys that were forgotten")
}

// testFinish finishes a record in each of its states.
func testFinish(e *env) {
	e.keeper()
	states := map[string]func(record outbox.Record){
		"pending": func(outbox.Record) {},
		"claimed": func(outbox.Record) { e.claimOne(long) },
		"dead": func(record outbox.Record) {
			claimed := e.claimOne(long)
			e.reschedule(1, outbox.Change{ID: record.ID, LeaseToken: claimed.LeaseToken, Dead: true})
		},
	}
	for state, prepare := range states {
		record := e.keyed(state)
		e.insert(record)
		prepare(record)
		e.finish(1, long, record.ID)
		e.finish(0, long, record.ID)
		e.insert(e.keyed(state))
		assert.Empty(e, e.all(), state)
		assert.Equal(e, outbox.Stats{}, e.stats(), state)
	}
	e.finish(0, long)
	e.finish(0, long, "unknown")
	e.forget(0, 100)

	plain := e.record(topic)
	other := e.keyed("other")
	e.insert(plain, other)
	e.finish(2, long, plain.ID, "unknown", other.ID, plain.ID)
	e.insert(plain, e.keyed("other"))
	assert.Equal(e, []string{plain.ID}, ids(e.all()), "a record without a key leaves nothing")
}

// testKeptIsNoRecord shows that every method ignores a remembered key.
func testKeptIsNoRecord(e *env) {
	e.keeper()
	record := e.keyed("key")
	e.insert(record)
	claimed := e.claimOne(long)
	e.finish(1, long, record.ID)

	_, pending, err := e.store.Next(e.ctx)
	require.NoError(e, err)
	assert.False(e, pending)
	assert.Equal(e, outbox.Stats{}, e.stats())
	assert.Empty(e, e.claim(10, long))
	assert.Empty(e, e.claimWith(outbox.ClaimOptions{Limit: 10, Lease: long, PerTopic: 10}))
	e.reschedule(0, change(claimed, 0))
	state := outbox.Pending
	for _, query := range []outbox.Query{{}, {IDs: []string{record.ID}}, {DedupKey: "key"}, {Topic: topic}, {State: &state}} {
		assert.Empty(e, e.list(query), "%+v", query)
	}
	for _, selection := range []outbox.Selection{{All: true}, {Topic: topic}, {IDs: []string{record.ID}}, {All: true, State: &state}, {Topic: topic, State: &state}} {
		n, err := e.store.Count(e.ctx, selection)
		require.NoError(e, err)
		assert.Zero(e, n, "Count %+v", selection)
		n, err = e.store.Retry(e.ctx, selection)
		require.NoError(e, err)
		assert.Zero(e, n, "Retry %+v", selection)
		n, err = e.store.Discard(e.ctx, selection)
		require.NoError(e, err)
		assert.Zero(e, n, "Discard %+v", selection)
	}
	n, err := e.store.Delete(e.ctx, record.ID)
	require.NoError(e, err)
	assert.Zero(e, n)

	// Together with a record.
	other := e.record(topic)
	e.insert(e.keyed("key"), other)
	assert.Equal(e, []string{other.ID}, ids(e.all()))
	n, err = e.store.Count(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	assert.Equal(e, 1, n)
	stats := e.stats()
	assert.Equal(e, 1, stats.Pending)
	assert.Equal(e, size(other), stats.Bytes)
	assert.Equal(e, other.ID, e.claimOne(long).ID)
}

func testForget(e *env) {
	e.keeper()
	var records []outbox.Record
	for _, key := range []string{"a", "b", "c", "kept"} {
		records = append(records, e.keyed(key))
	}
	e.insert(records...)
	e.finish(3, e.short, ids(records[:3])...)
	e.finish(1, long, records[3].ID)
	e.pass(e.short + time.Millisecond)
	e.forget(2, 2)
	e.forget(1, 2)
	e.forget(0, 2)
	e.insert(e.keyed("a"), e.keyed("b"), e.keyed("c"), e.keyed("kept"))
	all := e.all()
	slices.SortFunc(all, func(a, b outbox.Record) int { return strings.Compare(a.DedupKey, b.DedupKey) })
	require.Len(e, all, 3)
	assert.Equal(e, "c", all[2].DedupKey)
}

// testFinishMany finishes more records than one statement does.
func testFinishMany(e *env) {
	e.keeper()
	const n = 1234
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = e.record(topic)
		if i%3 > 0 {
			records[i].DedupKey = records[i].ID + " key"
		}
	}
	e.insert(records...)
	e.finish(n, long, ids(records)...)
	assert.Empty(e, e.all())
	assert.Equal(e, outbox.Stats{}, e.stats())
	for i := range records {
		records[i].ID = e.record(topic).ID
	}
	inserted, err := e.store.(outbox.Keeper).InsertNew(e.ctx, 0, records...)
	require.NoError(e, err)
	require.Len(e, inserted, n)
	for i := range inserted {
		assert.Equal(e, i%3 == 0, inserted[i], i)
	}
}

func testInsertNew(e *env) {
	keeper := e.keeper()
	first := e.keyed("key")
	insert := func(want []bool, records ...outbox.Record) {
		e.Helper()
		inserted, err := keeper.InsertNew(e.ctx, 0, records...)
		require.NoError(e, err)
		assert.Equal(e, want, append([]bool{}, inserted...))
	}
	insert([]bool{true}, first)
	insert([]bool{false}, first)
	insert([]bool{false}, e.keyed("key"))
	other, plain := e.keyed("other"), e.record(topic)
	insert([]bool{false, true, true, false, false}, e.keyed("key"), other, plain, e.keyed("other"), plain)
	assert.Equal(e, []string{first.ID, other.ID, plain.ID}, ids(e.all()))
	assert.Zero(e, e.next())
	insert([]bool{})
	_, err := keeper.InsertNew(e.ctx, 0, outbox.Record{})
	require.ErrorIs(e, err, outbox.ErrInvalid)

	// A record holds the key that is its ID, whether it is in the store or earlier
	// in the call.
	named, before, behind := e.record(topic), e.record(topic), e.record(topic)
	insert([]bool{true, false}, named, e.keyed(named.ID))
	insert([]bool{false, true, false, true, true, true}, e.keyed(named.ID), before, e.keyed(before.ID), e.keyed(behind.ID), behind, e.keyed("last"))

	held := e.keyed("held")
	held.LeaseToken = "token"
	inserted, err := keeper.InsertNew(e.ctx, long, held, e.keyed("held"))
	require.NoError(e, err)
	assert.Equal(e, []bool{true, false}, inserted)
	assert.Equal(e, 1, e.stats().Held)
}

// testFinishConcurrently inserts records while others with their keys are finished:
// each key is inserted once.
func testFinishConcurrently(e *env) {
	keeper := e.keeper()
	var running sync.WaitGroup
	var finished atomic.Int64
	failed := make(chan error, 100)
	for range 4 {
		running.Go(func() {
			for _, key := range strings.Fields("a b c d e f g h i j") {
				_, err := keeper.InsertNew(e.ctx, 0, e.keyed(key))
				if err != nil {
					failed <- err
				}
				claimed, err := keeper.Claim(e.ctx, outbox.ClaimOptions{Limit: 1, Lease: long})
				if err == nil {
					var n int
					n, err = keeper.Finish(e.ctx, long, ids(claimed)...)
					finished.Add(int64(n))
				}
				if err != nil {
					failed <- err
				}
			}
		})
	}
	running.Wait()
	close(failed)
	for err := range failed {
		assert.NoError(e, err)
	}
	assert.Equal(e, 10, int(finished.Load())+len(e.all()))
}

func testKeptNeedsNoCapacity(e *env) {
	if e.suite.bounded == nil {
		e.Skip("the store has no bounds")
	}
	e.store = e.suite.bounded(e.T, 2, 1000)
	storeAs[outbox.Keeper](e, "outbox.Keeper")
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		record := e.keyed(key)
		e.insert(record)
		e.finish(1, long, record.ID)
	}
	e.insert(e.keyed("g"), e.keyed("h"))
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, e.keyed("i")), outbox.ErrFull)
	e.insert(e.keyed("a"), e.keyed("g"))
	assert.Equal(e, 2, e.stats().Pending)
}

func testKeptIsDurable(e *env) {
	if e.suite.reopen == nil {
		e.Skip("the store keeps nothing")
	}
	e.keeper()
	records := []outbox.Record{e.keyed("kept"), e.keyed("waits")}
	e.insert(records...)
	e.finish(1, long, records[0].ID)
	e.store = e.suite.reopen(e.T, e.store)
	assert.Equal(e, size(records[1]), e.stats().Bytes)
	assert.Equal(e, 1, e.stats().Pending)
	e.insert(e.keyed("kept"))
	assert.Equal(e, []string{records[1].ID}, ids(e.all()))
}

func testKeepMisuse(e *env) {
	keeper := e.keeper()
	for _, keep := range []time.Duration{0, -time.Second} {
		_, err := keeper.Finish(e.ctx, keep, "id")
		require.ErrorIs(e, err, outbox.ErrInvalid)
		assert.ErrorContains(e, err, "keep")
	}
	_, err := keeper.Finish(e.ctx, long, "id", strings.Repeat("x", outbox.MaxFinishedID+1))
	require.ErrorIs(e, err, outbox.ErrInvalid)
	require.ErrorContains(e, err, "ids[1]")
	_, err = keeper.Forget(e.ctx, 0)
	require.ErrorIs(e, err, outbox.ErrInvalid)
	require.ErrorContains(e, err, "limit")
}

// testReservedID shows that Insert rejects the IDs by which stores mark remembered
// keys.
func testReservedID(e *env) {
	e.opened()
	record := e.record(topic)
	record.ID = "\x01" + record.ID
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, record), outbox.ErrInvalid)
	record.ID = "\x02" + record.ID
	e.insert(record)
	assert.Equal(e, []string{record.ID}, ids(e.all()))
}
