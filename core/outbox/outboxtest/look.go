package outboxtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// lookTests are about what changes nothing: Check, Next, Stats and List.
var lookTests = map[string]func(*env){
	"Check":        testCheck,
	"Next":         testNext,
	"Stats":        testStats,
	"Oldest":       testOldest,
	"ListPages":    testListPages,
	"ListFilters":  testListFilters,
	"ListDefaults": testListDefaults,
}

func testCheck(e *env) {
	e.opened()
	require.NoError(e, e.store.Check(e.ctx))
	e.inserted(3)
	require.NoError(e, e.store.Check(e.ctx))
	assert.Len(e, e.all(), 3, "a check changes nothing")
}

func testNext(e *env) {
	e.opened()
	none := func() {
		e.Helper()
		_, pending, err := e.store.Next(e.ctx)
		require.NoError(e, err)
		assert.False(e, pending, "no record is pending")
	}
	none()
	require.NoError(e, e.store.Insert(e.ctx, long, e.records(2)...))
	assert.InDelta(e, long.Seconds(), e.next().Seconds(), 60)
	require.NoError(e, e.store.Insert(e.ctx, long/4, e.record(topic)))
	assert.InDelta(e, (long / 4).Seconds(), e.next().Seconds(), 60, "the first of them counts")
	if e.suite.bubble {
		assert.Equal(e, long/4, e.next())
	}
	record := e.inserted(1)[0]
	assert.Zero(e, e.next(), "one is due now")
	e.tick()
	assert.Zero(e, e.next(), "one has been due for a while")

	claimed := e.claimOne(long / 8)
	assert.InDelta(e, (long / 8).Seconds(), e.next().Seconds(), 60, "the end of a lease counts")
	e.reschedule(1, outbox.Change{ID: record.ID, LeaseToken: claimed.LeaseToken, Dead: true})
	assert.InDelta(e, (long / 4).Seconds(), e.next().Seconds(), 60, "a dead record does not count")
	_, err := e.store.Discard(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	none()
}

func testStats(e *env) {
	e.opened()
	check := func(pending, dead, held int, bytes int64) {
		e.Helper()
		got := e.stats()
		got.Oldest = time.Time{}
		assert.Equal(e, outbox.Stats{Pending: pending, Dead: dead, Held: held, Bytes: bytes}, got)
	}
	check(0, 0, 0, 0)
	records := e.inserted(4)
	bytes := size(records...)
	check(4, 0, 0, bytes)
	claimed := e.claim(3, long)
	check(4, 0, 3, bytes)
	e.reschedule(1, change(claimed[0], long))
	check(4, 0, 2, bytes)
	e.reschedule(1, outbox.Change{ID: claimed[1].ID, LeaseToken: claimed[1].LeaseToken, Dead: true})
	check(3, 1, 1, bytes)
	deadID := claimed[1].ID

	_, err := e.store.Delete(e.ctx, claimed[2].ID)
	require.NoError(e, err)
	bytes -= claimed[2].Size()
	check(2, 1, 0, bytes)

	_, err = e.store.Retry(e.ctx, outbox.Selection{IDs: []string{deadID}})
	require.NoError(e, err)
	check(3, 0, 0, bytes)

	// A lease that has ended holds nothing any more.
	again := e.claim(10, e.short)
	require.Len(e, again, 2)
	if e.suite.bubble {
		check(3, 0, 2, bytes)
	}
	e.untilDue()
	e.pass(e.short)
	check(3, 0, 0, bytes)

	_, err = e.store.Discard(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	check(0, 0, 0, 0)
}

func testOldest(e *env) {
	e.opened()
	assert.True(e, e.stats().Oldest.IsZero(), "zero if none is pending")
	records := e.records(3)
	// The IDs descend: Oldest is about CreatedAt.
	for _, i := range []int{2, 1, 0} {
		e.insert(records[i])
		e.tick()
	}
	oldest := func(i int) {
		e.Helper()
		want := e.find(records[i].ID).CreatedAt
		assert.True(e, want.Equal(e.stats().Oldest), "Oldest is %s, want %s", e.stats().Oldest, want)
	}
	oldest(2)
	claimed := e.claim(10, long)
	oldest(2)
	first := claimed[indexOf(claimed, records[2].ID)]
	e.reschedule(1, outbox.Change{ID: first.ID, LeaseToken: first.LeaseToken, Dead: true})
	oldest(1)
	_, err := e.store.Delete(e.ctx, records[1].ID)
	require.NoError(e, err)
	oldest(0)
	_, err = e.store.Retry(e.ctx, outbox.Selection{IDs: []string{first.ID}})
	require.NoError(e, err)
	oldest(2)
	_, err = e.store.Discard(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	assert.True(e, e.stats().Oldest.IsZero())
}

// list lists what a query selects.
func (e *env) list(query outbox.Query) []outbox.Record {
	e.Helper()
	records, err := e.store.List(e.ctx, query)
	require.NoError(e, err)
	return records
}

func testListPages(e *env) {
	e.opened()
	assert.Empty(e, e.list(outbox.Query{}))
	records := e.records(25)
	for _, i := range []int{24, 3, 11} {
		e.insert(records[i])
		e.tick()
	}
	e.insert(records...)
	e.claim(5, long)

	var got []string
	query := outbox.Query{Limit: 10}
	for _, want := range []int{10, 10, 5, 0} {
		page := e.list(query)
		require.Len(e, page, want)
		got = append(got, ids(page)...)
		if want > 0 {
			query.After = page[want-1].ID
		}
	}
	assert.Equal(e, ids(records), got, "by ascending ID, each once")

	// The last record of the page before may be gone by the next page.
	_, err := e.store.Delete(e.ctx, records[9].ID)
	require.NoError(e, err)
	assert.Equal(e, ids(records[10:12]), ids(e.list(outbox.Query{After: records[9].ID, Limit: 2})))
}

func testListFilters(e *env) {
	e.opened()
	kinds := e.kinds()
	for _, filter := range kinds.filters() {
		want := kinds.matching(filter.topic, filter.state)
		query := outbox.Query{Topic: filter.topic, State: filter.state}
		assert.Equal(e, want, ids(e.list(query)), "%s", filter)
		query.Limit = 2
		got := []string{}
		for {
			page := e.list(query)
			if len(page) == 0 {
				break
			}
			require.LessOrEqual(e, len(page), 2)
			got = append(got, ids(page)...)
			query.After = page[len(page)-1].ID
		}
		assert.Equal(e, want, got, "%s in pages", filter)
	}
	assert.Empty(e, e.list(outbox.Query{Topic: "unknown"}))
}

func testListDefaults(e *env) {
	e.opened()
	records := e.inserted(101)
	assert.Equal(e, ids(records[:100]), ids(e.list(outbox.Query{})), "100 by default")
	assert.Equal(e, ids(records[100:]), ids(e.list(outbox.Query{After: records[99].ID})))
	assert.Len(e, e.list(outbox.Query{Limit: 1000}), 101)
}
