package outboxtest

import (
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// durableTests are about what outlives a store.
var durableTests = map[string]func(*env){
	"Records": testRecordsSurvive,
	"Leases":  testLeasesSurvive,
}

// boundTests are about a store with bounds.
var boundTests = map[string]func(*env){
	"Records":    testMaxRecords,
	"Bytes":      testMaxStoredBytes,
	"Concurrent": testBoundConcurrently,
	"Keys":       testBoundWithKeys,
}

// reopened closes the store and opens it again.
func (e *env) reopened() {
	e.Helper()
	e.store = e.suite.reopen(e.T, e.store)
}

func testRecordsSurvive(e *env) {
	e.opened()
	e.reopened()
	assert.Empty(e, e.all())
	records := e.records(4)
	records[1].DeliverAt = time.Now().Add(long).Truncate(time.Microsecond)
	records[2].State, records[2].LastError = outbox.Dead, "server answered 400"
	records[3].LeaseToken = "holder"
	records[3].DedupKey = "key"
	require.NoError(e, e.store.Insert(e.ctx, long, records...))
	before, stats := e.all(), e.stats()
	e.reopened()
	assert.Equal(e, before, e.all())
	e.insert(e.keyed("key"))
	again := e.stats()
	stats.Age, again.Age = 0, 0 // Age grows
	assert.Equal(e, stats, again)

	_, err := e.store.Delete(e.ctx, records[0].ID)
	require.NoError(e, err)
	e.reopened()
	assert.Equal(e, before[1:], e.all(), "what was deleted stays so")
	e.insert(records[0])
	e.insert(records...)
	assert.Equal(e, []string{records[0].ID}, ids(e.claim(10, long)))
	e.reopened()
	assert.Equal(e, 1, e.find(records[0].ID).Attempts)
}

func testLeasesSurvive(e *env) {
	e.opened()
	e.inserted(1)
	claimed := e.claimOne(long)
	e.reopened()
	assert.Empty(e, e.claim(10, long), "still leased")
	assert.Equal(e, 1, e.stats().Held)
	e.reschedule(1, change(claimed, e.short))
	e.untilDue()
	claimed = e.claimOne(e.short)
	assert.Equal(e, 2, claimed.Attempts)
	e.reopened()
	e.untilDue()
	assert.Equal(e, 3, e.claimOne(long).Attempts, "a dead process's lease ends by itself")
}

func testMaxRecords(e *env) {
	e.store = e.suite.bounded(e.T, 5, 0)
	records := e.records(8)
	e.insert(records[:4]...)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[4:6]...), outbox.ErrFull)
	assert.Equal(e, ids(records[:4]), ids(e.all()), "none of those is kept")
	e.insert(records[4])
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[5]), outbox.ErrFull)
	e.insert(records[0], records[4], records[0])
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[0], records[5]), outbox.ErrFull)
	require.NotErrorIs(e, e.store.Insert(e.ctx, 0, records[3:]...), outbox.ErrNeverFits, "3 of the 5 are new")
	records = append(records, e.records(6)...)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[8:]...), outbox.ErrNeverFits)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[8:]...), outbox.ErrFull)
	require.Len(e, e.claim(10, long), 5, "everything else goes on")

	_, err := e.store.Delete(e.ctx, records[0].ID, records[1].ID)
	require.NoError(e, err)
	e.insert(records[5], records[6], records[5])
	assert.Equal(e, ids(records[2:7]), ids(e.all()))
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[7]), outbox.ErrFull)
	_, err = e.store.Discard(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	e.insert(records[:5]...)
}

func testMaxStoredBytes(e *env) {
	records := e.records(4)
	records[3].Payload = append(records[3].Payload, strings.Repeat(" ", 1000)...)
	e.store = e.suite.bounded(e.T, 0, size(records[:3]...))
	e.insert(records[:2]...)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[3]), outbox.ErrNeverFits)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[2:]...), outbox.ErrNeverFits)
	require.NotErrorIs(e, e.store.Insert(e.ctx, 0, e.records(2)...), outbox.ErrNeverFits)
	e.insert(records[:3]...)
	assert.Equal(e, size(records[:3]...), e.stats().Bytes, "the bound itself fits")
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records[3]), outbox.ErrFull)
	_, err := e.store.Delete(e.ctx, records[0].ID)
	require.NoError(e, err)
	e.insert(records[0], records[0])
	assert.Equal(e, ids(records[:3]), ids(e.all()))
}

// testBoundWithKeys shows that records that are left out need no capacity.
func testBoundWithKeys(e *env) {
	e.store = e.suite.bounded(e.T, 3, 0)
	first, named := e.keyed("key"), e.record(topic)
	named.ID = "named"
	e.insert(first, named)
	e.insert(e.keyed("key"), e.keyed("named"), e.keyed("last"), e.keyed("last"))
	require.Len(e, e.all(), 3)
	e.insert(e.keyed("last"))
	e.insert(e.keyed("key"), e.keyed("named"))
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, e.keyed("another")), outbox.ErrFull)
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, e.keyed("key"), e.record(topic)), outbox.ErrFull)
	require.Len(e, e.all(), 3)

	n, err := e.store.Delete(e.ctx, first.ID)
	require.NoError(e, err)
	require.Equal(e, 1, n)
	e.insert(e.keyed("another"))
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, e.keyed("key")), outbox.ErrFull)
}

func testBoundConcurrently(e *env) {
	e.store = e.suite.bounded(e.T, 50, 0)
	records := e.records(200)
	errs := make([]error, len(records))
	var group sync.WaitGroup
	for i := range records {
		group.Go(func() { errs[i] = e.store.Insert(e.ctx, 0, records[i]) })
	}
	group.Wait()
	var kept []string
	for i, err := range errs {
		if err == nil {
			kept = append(kept, records[i].ID)
			continue
		}
		require.ErrorIs(e, err, outbox.ErrFull)
	}
	assert.Len(e, kept, 50)
	assert.Equal(e, kept, ids(e.all()), "what was accepted is kept, and nothing else")
}
