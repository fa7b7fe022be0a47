package outboxtest

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// readTests are about methods that change nothing: Check, Next, Stats and List.
// Count is among the tests of selections.
var readTests = map[string]func(*env){
	"Check":           testCheck,
	"Next":            testNext,
	"Stats":           testStats,
	"Oldest":          testOldest,
	"ListPages":       testListPages,
	"ListFilters":     testListFilters,
	"ListDefaults":    testListDefaults,
	"ListIDs":         testListIDs,
	"ListManyIDs":     testListManyIDs,
	"ListPayloads":    testListPayloads,
	"ListPayloadsCut": testListPayloadsCut,
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
		got.Oldest, got.Age = time.Time{}, 0
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

	// A record whose lease has ended is not held.
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
	assert.Zero(e, e.stats().Age)
	records := e.records(3)
	// The IDs descend: Oldest is about CreatedAt.
	for _, i := range []int{2, 1, 0} {
		e.insert(records[i])
		e.tick()
	}
	oldest := func(i int) {
		e.Helper()
		want := e.find(records[i].ID).CreatedAt
		stats := e.stats()
		assert.True(e, want.Equal(stats.Oldest), "Oldest is %s, want %s", stats.Oldest, want)
		assert.Positive(e, stats.Age)
		assert.Less(e, stats.Age, long/8, "by the store's clock")
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

// entries returns what a query selects.
func (e *env) entries(query outbox.Query) []outbox.Entry {
	e.Helper()
	entries, err := e.store.List(e.ctx, query)
	require.NoError(e, err)
	return entries
}

// list returns what a query selects, without sizes.
func (e *env) list(query outbox.Query) []outbox.Record {
	e.Helper()
	var records []outbox.Record
	for _, entry := range e.entries(query) {
		records = append(records, entry.Record)
	}
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

	// The last record of the previous page may be deleted before the next page.
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

func testListIDs(e *env) {
	e.opened()
	kinds := e.kinds()
	all := ids(kinds.records)
	some := ids(kinds.records[2:8])
	// Unordered, with one ID twice, and with some that no record has.
	asked := append([]string{some[5], "unknown", ""}, some...)
	asked = append(asked, strings.Repeat("x", 300), "'")
	for _, filter := range kinds.filters() {
		want := []string{}
		for _, id := range kinds.matching(filter.topic, filter.state) {
			if slices.Contains(some, id) {
				want = append(want, id)
			}
		}
		query := outbox.Query{IDs: asked, Topic: filter.topic, State: filter.state}
		assert.Equal(e, want, ids(e.list(query)), "%s", filter)
		query.IDs = []string{"unknown"}
		assert.Empty(e, e.list(query), "%s", filter)
	}
	assert.Equal(e, some[:2], ids(e.list(outbox.Query{IDs: asked, Limit: 2})), "the first of them")
	assert.Equal(e, some[2:4], ids(e.list(outbox.Query{IDs: asked, After: some[1], Limit: 2})), "the next ones")
	assert.Empty(e, e.list(outbox.Query{IDs: asked, After: some[5]}))
	assert.Equal(e, all, ids(e.list(outbox.Query{IDs: []string{}})), "an empty list is none")
	assert.Equal(e, e.find(some[0]), e.list(outbox.Query{IDs: some[:1]})[0], "it is listed as among all")
}

func testListManyIDs(e *env) {
	e.opened()
	records := e.inserted(2300)
	asked := ids(records)
	slices.Reverse(asked)
	assert.Len(e, e.list(outbox.Query{IDs: asked}), 100, "the default holds")
	assert.Equal(e, ids(records), ids(e.list(outbox.Query{IDs: asked, Limit: 10_000})))
	assert.Equal(e, ids(records[1:2200]), ids(e.list(outbox.Query{IDs: asked, After: records[0].ID, Limit: 2199})))
}

func testListPayloads(e *env) {
	e.opened()
	records := e.records(3)
	records[0].Payload, records[0].Attributes = json.RawMessage(`{}`), json.RawMessage(`{"key":"value"}`)
	records[1].Payload = json.RawMessage(`{"large":"` + strings.Repeat("0123456789", 100_000) + `"}`)
	records[2].Attributes = json.RawMessage(`{"large":"` + strings.Repeat("ż", 50_000) + `"}`)
	e.insert(records...)
	beginning := func(whole json.RawMessage, limit int) string { return string(whole[:min(len(whole), limit)]) }
	for _, limit := range []int{0, 1, 2, 3, 1000, 1_000_000, math.MaxInt32, math.MaxInt} {
		want := limit
		if limit == 0 {
			want = math.MaxInt
		}
		for i, got := range e.entries(outbox.Query{MaxPayload: limit}) {
			assert.Equal(e, len(records[i].Payload), got.PayloadSize, "MaxPayload %d", limit)
			assert.Equal(e, len(records[i].Attributes), got.AttributesSize, "MaxPayload %d", limit)
			if beginning(records[i].Payload, want) != string(got.Payload) { // too long to print
				assert.Fail(e, "not the beginning of the payload", "MaxPayload %d: %d bytes", limit, len(got.Payload))
			}
			if beginning(records[i].Attributes, want) != string(got.Attributes) {
				assert.Fail(e, "not the beginning of the attributes", "MaxPayload %d: %d bytes", limit, len(got.Attributes))
			}
			assert.Equal(e, records[i].Size(), got.Size(), "MaxPayload %d: the size is that of the whole", limit)
		}
	}

	whole := e.entries(outbox.Query{})
	require.Len(e, whole, 3)
	for _, limit := range []int{-1, math.MinInt} {
		for i, got := range e.entries(outbox.Query{MaxPayload: limit}) {
			assert.Nil(e, got.Payload)
			assert.Nil(e, got.Attributes)
			assert.Equal(e, records[i].Size(), got.Size())
			got.Payload, got.Attributes = whole[i].Payload, whole[i].Attributes
			assert.Equal(e, whole[i].ID, got.ID)
			got.Payload, whole[i].Payload = nil, nil
			assert.Equal(e, whole[i], got, "all else is there")
		}
	}

	// Each way in which List may read.
	pending, dead := outbox.Pending, outbox.Dead
	for _, state := range []*outbox.State{nil, &pending, &dead} {
		for _, query := range []outbox.Query{{}, {Topic: topic}, {IDs: ids(records)}, {IDs: ids(records), Topic: topic}} {
			query.State, query.MaxPayload = state, 2
			for _, got := range e.list(query) {
				assert.Len(e, got.Payload, 2)
				assert.Len(e, got.Attributes, 2)
			}
			query.MaxPayload = -1
			for _, got := range e.entries(query) {
				assert.Nil(e, got.Payload)
				assert.Positive(e, got.PayloadSize)
			}
		}
		for i := range records {
			records[i].State = outbox.Dead
		}
		_, err := e.store.Discard(e.ctx, outbox.Selection{All: true})
		require.NoError(e, err)
		e.insert(records...)
	}

	// A truncated record cannot be inserted as a message.
	cut := e.list(outbox.Query{MaxPayload: 2, Limit: 2})[1]
	cut.ID += "-copy"
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, cut), outbox.ErrInvalid)
}

func testListPayloadsCut(e *env) {
	e.opened()
	record := e.record(topic)
	record.Payload = json.RawMessage("{\"text\":\"z\u017c\U0001F40E\u017c\\u0000\\\\\"}")
	record.Attributes = json.RawMessage("{\"\u017c\":\"\U0001F40E\"}")
	e.insert(record)
	for limit := 1; limit <= len(record.Payload)+1; limit++ {
		got := e.list(outbox.Query{MaxPayload: limit})
		require.Len(e, got, 1)
		assert.Equal(e, []byte(record.Payload[:min(limit, len(record.Payload))]), []byte(got[0].Payload), "%d bytes, not characters", limit)
		assert.Equal(e, []byte(record.Attributes[:min(limit, len(record.Attributes))]), []byte(got[0].Attributes), "%d bytes, not characters", limit)
	}
}
