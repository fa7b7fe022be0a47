package outboxtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// deleteTests are about Delete.
var deleteTests = map[string]func(*env){
	"Counts":     testDeleteCounts,
	"WhoeverHas": testDeleteWhoeverHas,
	"Many":       testDeleteMany,
}

// selectTests are about Retry, Discard and Count.
var selectTests = map[string]func(*env){
	"RetryDead":    testRetryDead,
	"RetryHeld":    testRetryHeld,
	"RetryBackoff": testRetryBackoff,
	"Retry":        testRetrySelections,
	"Discard":      testDiscardSelections,
	"Count":        testCountSelections,
	"Many":         testSelectMany,
}

func testDeleteCounts(e *env) {
	e.opened()
	records := e.inserted(4)
	remove := func(want int, list ...string) {
		e.Helper()
		n, err := e.store.Delete(e.ctx, list...)
		require.NoError(e, err)
		assert.Equal(e, want, n)
	}
	remove(0)
	remove(0, "unknown", "")
	remove(1, records[0].ID, "unknown")
	remove(0, records[0].ID)
	remove(1, records[1].ID, records[1].ID)
	assert.Equal(e, ids(records[2:]), ids(e.all()))
	remove(2, ids(records)...)
	assert.Empty(e, e.all())
	assert.Zero(e, e.stats())
}

func testDeleteWhoeverHas(e *env) {
	e.opened()
	records := e.inserted(3)
	claimed := e.claim(2, long)
	first := claimed[0]
	e.reschedule(1, outbox.Change{ID: first.ID, LeaseToken: first.LeaseToken, Dead: true})
	n, err := e.store.Delete(e.ctx, ids(records)...)
	require.NoError(e, err)
	assert.Equal(e, 3, n, "held, dead and waiting alike")
	e.reschedule(0, change(claimed[1], 0))
	assert.Empty(e, e.all())
}

func testDeleteMany(e *env) {
	e.opened()
	records := e.inserted(1200)
	n, err := e.store.Delete(e.ctx, ids(records[1:])...)
	require.NoError(e, err)
	assert.Equal(e, 1199, n)
	assert.Equal(e, ids(records[:1]), ids(e.all()))
}

func testRetryDead(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(long)
	e.reschedule(1, outbox.Change{ID: record.ID, LeaseToken: claimed.LeaseToken, Dead: true, LastError: "server answered 400"})
	n, err := e.store.Retry(e.ctx, outbox.Selection{IDs: []string{record.ID, "unknown"}})
	require.NoError(e, err)
	assert.Equal(e, 1, n)
	assert.Equal(e, outbox.Pending, e.find(record.ID).State)
	assert.Zero(e, e.next(), "due now")
	assert.Equal(e, record.ID, e.claimOne(long).ID)
}

func testRetryHeld(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	first := e.claimOne(long)
	n, err := e.store.Retry(e.ctx, outbox.Selection{IDs: []string{record.ID}})
	require.NoError(e, err)
	assert.Equal(e, 1, n, "whoever holds it")
	assert.Zero(e, e.stats().Held)
	e.reschedule(0, change(first, long))
	second := e.claimOne(long)
	assert.Equal(e, record.ID, second.ID)
	assert.NotEqual(e, first.LeaseToken, second.LeaseToken)
}

func testRetryBackoff(e *env) {
	e.opened()
	e.inserted(2)
	var changes []outbox.Change
	for _, record := range e.claim(10, long) {
		changes = append(changes, change(record, long))
	}
	e.reschedule(2, changes...)
	require.NotZero(e, e.next())
	n, err := e.store.Retry(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	assert.Equal(e, 2, n)
	assert.Zero(e, e.next())
	assert.Len(e, e.claim(10, long), 2)
}

// kinds are records of two topics in both states, held and not held.
type kinds struct {
	records []outbox.Record
}

// kinds inserts three records of each kind.
func (e *env) kinds() *kinds {
	e.Helper()
	k := &kinds{}
	for range 3 {
		for _, topic := range []string{"orders", "users"} {
			for _, state := range []outbox.State{outbox.Pending, outbox.Dead} {
				record := e.record(topic)
				record.State = state
				k.records = append(k.records, record)
			}
			held := e.record(topic)
			held.LeaseToken = "holder"
			k.records = append(k.records, held)
		}
	}
	require.NoError(e, e.store.Insert(e.ctx, long, k.records...))
	return k
}

// filter is a topic and a state; empty and nil mean any.
type filter struct {
	topic string
	state *outbox.State
}

// String returns a readable description of the filter.
func (f filter) String() string {
	state := "any"
	if f.state != nil {
		state = f.state.String()
	}
	return fmt.Sprintf("topic %s, state %s", cmp.Or(f.topic, "any"), state)
}

// filters returns every combination of topic and state.
func (k *kinds) filters() []filter {
	pending, dead := outbox.Pending, outbox.Dead
	var filters []filter
	for _, topic := range []string{"", "orders", "users", "unknown"} {
		for _, state := range []*outbox.State{nil, &pending, &dead} {
			filters = append(filters, filter{topic, state})
		}
	}
	return filters
}

// matching returns the IDs of a topic and state; empty and nil mean any.
func (k *kinds) matching(topic string, state *outbox.State) []string {
	list := []string{}
	for _, record := range k.records {
		if (topic == "" || record.Topic == topic) && (state == nil || record.State == *state) {
			list = append(list, record.ID)
		}
	}
	return list
}

// selectionCase is a selection and the IDs that it selects of the kinds.
type selectionCase struct {
	name      string
	selection outbox.Selection
	want      []string
}

// selections returns selections of every form.
func (k *kinds) selections() []selectionCase {
	pending, dead := outbox.Pending, outbox.Dead
	some := ids(k.records[2:8])
	cases := []selectionCase{
		{"zero", outbox.Selection{}, nil},
		{"only a state", outbox.Selection{State: &dead}, nil},
		{"no IDs", outbox.Selection{IDs: []string{}}, nil},
		{"unknown IDs", outbox.Selection{IDs: []string{"unknown", ""}}, nil},
		{"IDs", outbox.Selection{IDs: append(slices.Clone(some), some[0], "unknown")}, some},
	}
	for _, state := range []*outbox.State{&pending, &dead} {
		var want []string
		for _, id := range some {
			if slices.Contains(k.matching("", state), id) {
				want = append(want, id)
			}
		}
		cases = append(cases, selectionCase{"IDs, " + state.String(), outbox.Selection{IDs: some, State: state}, want})
	}
	for _, filter := range k.filters() {
		selection := outbox.Selection{Topic: filter.topic, All: filter.topic == "", State: filter.state}
		cases = append(cases, selectionCase{filter.String(), selection, k.matching(filter.topic, filter.state)})
	}
	return cases
}

// eachSelection calls a function for each selection with new kinds.
func (e *env) eachSelection(test func(k *kinds, name string, selection outbox.Selection, want []string)) {
	e.Helper()
	e.opened()
	count := len((&kinds{records: e.records(18)}).selections())
	for i := range count {
		k := e.kinds()
		c := k.selections()[i]
		test(k, c.name, c.selection, c.want)
		_, err := e.store.Delete(e.ctx, ids(k.records)...)
		require.NoError(e, err)
	}
}

func testRetrySelections(e *env) {
	e.eachSelection(func(k *kinds, name string, selection outbox.Selection, want []string) {
		n, err := e.store.Retry(e.ctx, selection)
		require.NoError(e, err)
		assert.Equal(e, len(want), n, name)
		for _, record := range e.all() {
			if slices.Contains(want, record.ID) {
				assert.Equal(e, outbox.Pending, record.State, name)
				assert.LessOrEqual(e, time.Until(record.DueAt), long/2, name)
				assert.Empty(e, record.LeaseToken, name)
				continue
			}
			original := k.records[indexOf(k.records, record.ID)]
			assert.Equal(e, original.State, record.State, "%s: left alone", name)
			assert.Equal(e, original.LeaseToken, record.LeaseToken, "%s: left alone", name)
		}
		assert.ElementsMatch(e, want, ids(e.claim(100, long)), name)
	})
}

func testDiscardSelections(e *env) {
	e.eachSelection(func(k *kinds, name string, selection outbox.Selection, want []string) {
		n, err := e.store.Discard(e.ctx, selection)
		require.NoError(e, err)
		assert.Equal(e, len(want), n, name)
		left := []string{}
		for _, record := range k.records {
			if !slices.Contains(want, record.ID) {
				left = append(left, record.ID)
			}
		}
		assert.Equal(e, left, ids(e.all()), name)
	})
}

func testCountSelections(e *env) {
	e.eachSelection(func(_ *kinds, name string, selection outbox.Selection, want []string) {
		before := e.all()
		assert.Equal(e, len(want), e.count(selection), name)
		assert.Equal(e, before, e.all(), "%s: counting changes nothing", name)
	})
}

// count counts what a selection selects.
func (e *env) count(selection outbox.Selection) int {
	e.Helper()
	n, err := e.store.Count(e.ctx, selection)
	require.NoError(e, err)
	return n
}

func testSelectMany(e *env) {
	e.opened()
	records := e.records(1200)
	other := e.records(3)
	for i := range other {
		other[i].Topic = "users"
	}
	require.NoError(e, e.store.Insert(e.ctx, long, append(records, other...)...))
	assert.Equal(e, len(records), e.count(outbox.Selection{Topic: topic}))
	assert.Equal(e, len(records)+3, e.count(outbox.Selection{IDs: ids(append(records, other...))}))
	n, err := e.store.Retry(e.ctx, outbox.Selection{Topic: topic})
	require.NoError(e, err)
	assert.Equal(e, len(records), n)
	assert.Len(e, e.claim(10_000, long), len(records))
	n, err = e.store.Discard(e.ctx, outbox.Selection{Topic: topic})
	require.NoError(e, err)
	assert.Equal(e, len(records), n)
	assert.ElementsMatch(e, ids(other), ids(e.all()))
	assert.Equal(e, size(other...), e.stats().Bytes)
}
