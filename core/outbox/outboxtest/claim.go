package outboxtest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// claimTests are about Claim.
var claimTests = map[string]func(*env){
	"None":               testClaimNone,
	"Leased":             testLeased,
	"LongestDueFirst":    testLongestDueFirst,
	"DueOrderOfDelays":   testDueOrderOfDelays,
	"Limit":              testLimit,
	"MaxBytes":           testMaxBytes,
	"LeaseEnds":          testLeaseEnds,
	"TokensDiffer":       testTokensDiffer,
	"SkipScheduled":      testSkipScheduled,
	"Concurrent":         testConcurrentClaims,
	"FailingDoNotStarve": testFailingDoNotStarve,
	"LostDoNotStarve":    testLostDoNotStarve,
}

func testClaimNone(e *env) {
	e.opened()
	assert.Empty(e, e.claim(10, long), "an empty store has none, and that is no error")
	require.NoError(e, e.store.Insert(e.ctx, long, e.record(topic)))
	assert.Empty(e, e.claim(10, long), "none is due")
}

func testLeased(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	before := time.Now()
	claimed := e.claimOne(long)
	assert.Equal(e, record.ID, claimed.ID)
	assert.Equal(e, 1, claimed.Attempts, "the current claim is counted")
	assert.NotEmpty(e, claimed.LeaseToken)
	assert.Equal(e, outbox.Pending, claimed.State)
	assert.InDelta(e, long.Seconds(), claimed.DueAt.Sub(before).Seconds(), 60)
	if e.suite.bubble {
		assert.True(e, before.Add(long).Equal(claimed.DueAt), "DueAt is the end of the lease: %s", claimed.DueAt)
	}
	assert.Empty(e, e.claim(10, long), "hidden from other claims")
	assert.InDelta(e, long.Seconds(), e.next().Seconds(), 60, "and due at the end of the lease")
}

func testLongestDueFirst(e *env) {
	e.opened()
	// The IDs ascend, and the records are inserted in reverse order.
	records := e.records(5)
	slices.Reverse(records)
	for _, record := range records {
		e.insert(record)
		e.tick()
	}
	assert.Equal(e, ids(records), ids(e.claim(10, long)))
}

func testDueOrderOfDelays(e *env) {
	e.opened()
	records := e.records(3)
	for i, delay := range []time.Duration{30, 10, 20} {
		require.NoError(e, e.store.Insert(e.ctx, delay*e.short/10, records[i]))
	}
	// On a busy machine an insert may take longer than the difference between
	// delays.
	for i := range records {
		records[i] = e.find(records[i].ID)
	}
	slices.SortFunc(records, func(a, b outbox.Record) int { return a.DueAt.Compare(b.DueAt) })
	e.pass(3*e.short + e.short/2)
	assert.Equal(e, ids(records), ids(e.claim(10, long)), "by when they were due, not by when they were inserted")
}

func testLimit(e *env) {
	e.opened()
	records := e.inserted(7)
	var got []string
	for _, want := range []int{3, 3, 1, 0} {
		claimed := e.claim(3, long)
		assert.Len(e, claimed, want)
		got = append(got, ids(claimed)...)
	}
	assert.ElementsMatch(e, ids(records), got, "each record once")
}

func testMaxBytes(e *env) {
	e.opened()
	sizes := []int{100, 100, 100, 5000, 100, 100}
	records := e.records(len(sizes))
	for i, n := range sizes {
		records[i].Payload = []byte(`{"x":"` + strings.Repeat("x", n-len(topic)-len(records[i].Attributes)-8) + `"}`)
		require.Equal(e, int64(n), records[i].Size())
		e.insert(records[i])
		e.tick()
	}
	claim := func(maxBytes int64) []string {
		return ids(e.claimWith(outbox.ClaimOptions{Limit: 10, MaxBytes: maxBytes, Lease: long}))
	}
	assert.Equal(e, ids(records[:2]), claim(250), "as many as fit")
	assert.Equal(e, ids(records[2:3]), claim(1), "a single record may exceed it")
	assert.Equal(e, ids(records[3:4]), claim(300), "the longest due comes first, though smaller ones would fit")
	assert.Equal(e, ids(records[4:6]), claim(200), "the bound itself fits")
	assert.Empty(e, claim(1))

	_, err := e.store.Retry(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
	assert.Len(e, claim(0), len(sizes), "zero means no bound")
}

func testLeaseEnds(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	start := time.Now()
	first := e.claimOne(e.short)
	if e.suite.bubble {
		e.pass(e.short - time.Microsecond)
		assert.Empty(e, e.claim(10, long), "hidden to the end of the lease")
	}
	e.untilDue()
	assert.GreaterOrEqual(e, time.Since(start), e.short-time.Millisecond)
	assert.Equal(e, first.LeaseToken, e.find(record.ID).LeaseToken, "keeps its token until the next claim")

	second := e.claimOne(long)
	assert.Equal(e, record.ID, second.ID)
	assert.Equal(e, 2, second.Attempts)
	assert.NotEqual(e, first.LeaseToken, second.LeaseToken)
	assert.Equal(e, second.LeaseToken, e.find(record.ID).LeaseToken)
}

func testTokensDiffer(e *env) {
	e.opened()
	e.inserted(20)
	seen := map[string]bool{}
	for range 20 {
		claimed := e.claim(1, long)
		require.Len(e, claimed, 1)
		assert.False(e, seen[claimed[0].LeaseToken], "no two claims share a token")
		seen[claimed[0].LeaseToken] = true
	}
}

func testSkipScheduled(e *env) {
	e.opened()
	records := e.records(4)
	records[0].DeliverAt = time.Now().Add(long)
	records[1].DeliverAt = time.Now().Add(-long)
	records[2].DeliverAt = time.Now().Add(2 * long)
	e.insert(records...)
	unscheduled := e.claimWith(outbox.ClaimOptions{Limit: 10, Lease: long, SkipScheduled: true})
	assert.ElementsMatch(e, []string{records[1].ID, records[3].ID}, ids(unscheduled), "DeliverAt has passed or is not set")
	rest := e.claim(10, long)
	assert.ElementsMatch(e, []string{records[0].ID, records[2].ID}, ids(rest), "DeliverAt does not delay a claim")

	soon := e.record(topic)
	soon.DeliverAt = time.Now().Add(e.short).Truncate(time.Microsecond)
	e.insert(soon)
	if e.suite.bubble {
		e.pass(e.short - time.Microsecond)
		assert.Empty(e, e.claimWith(outbox.ClaimOptions{Limit: 10, Lease: long, SkipScheduled: true}))
		e.pass(time.Microsecond)
	} else {
		e.pass(2 * e.short)
	}
	got := e.claimWith(outbox.ClaimOptions{Limit: 10, Lease: long, SkipScheduled: true})
	assert.Equal(e, []string{soon.ID}, ids(got), "its time has come")
}

func testConcurrentClaims(e *env) {
	e.opened()
	records := e.inserted(500)
	got := e.claimedByMany(32, func(int, int) outbox.ClaimOptions { return outbox.ClaimOptions{Limit: 7, Lease: long} })
	// A store may skip records that another claim is taking at the same moment.
	got = append(got, ids(e.claim(500, long))...)
	e.claimedOnce(ids(records), got)
}

// claimedByMany returns the IDs that concurrent claimers have claimed until nothing
// was left. options returns the options of a claimer and a turn.
func (e *env) claimedByMany(claimers int, options func(claimer, turn int) outbox.ClaimOptions) []string {
	e.Helper()
	var mutex sync.Mutex
	var got []string
	var errs []error
	var group sync.WaitGroup
	for claimer := range claimers {
		group.Go(func() {
			for turn := 0; ; turn++ {
				claimed, err := e.store.Claim(e.ctx, options(claimer, turn))
				mutex.Lock()
				got = append(got, ids(claimed)...)
				if err != nil {
					errs = append(errs, err)
				}
				mutex.Unlock()
				if err != nil || len(claimed) == 0 {
					return
				}
			}
		})
	}
	group.Wait()
	require.Empty(e, errs)
	return got
}

// claimedOnce asserts that every record was claimed once.
func (e *env) claimedOnce(want, got []string) {
	e.Helper()
	slices.Sort(got)
	assert.Equal(e, want, got, "each record is claimed, and by one claim only")
	for _, record := range e.all() {
		assert.Equal(e, 1, record.Attempts)
	}
}

// failing is how many records fail forever in the tests of rotation.
const failing = 300

func testFailingDoNotStarve(e *env) {
	e.opened()
	e.inserted(failing)
	// The failing records come first once, because they have waited longer.
	e.failAll("")
	e.tick()
	healthy := e.inserted(1)[0]
	for range failing/50 + 1 {
		if e.failSome(healthy.ID) {
			return
		}
	}
	e.Fatalf("the healthy record was not claimed in %d claims of 50", failing/50+1)
}

// failAll claims every record once and lets all fail.
func (e *env) failAll(healthy string) {
	e.Helper()
	for range failing / 50 {
		require.False(e, e.failSome(healthy))
	}
}

// failSome claims 50 records, lets them fail and makes them due again after a
// moment. It reports whether the healthy record was among them.
func (e *env) failSome(healthy string) bool {
	e.Helper()
	e.untilDue()
	claimed := e.claim(50, long)
	require.NotEmpty(e, claimed)
	var changes []outbox.Change
	for _, record := range claimed {
		if record.ID == healthy {
			return true
		}
		changes = append(changes, change(record, time.Millisecond))
	}
	e.reschedule(len(changes), changes...)
	return false
}

func testLostDoNotStarve(e *env) {
	e.opened()
	e.inserted(failing)
	e.tick()
	healthy := e.inserted(1)[0]
	// Every claimed record is lost: its lease ends at once.
	for range failing/50 + 1 {
		e.untilDue()
		claimed := e.claim(50, time.Microsecond)
		if indexOf(claimed, healthy.ID) >= 0 {
			return
		}
		e.tick()
	}
	e.Fatalf("the healthy record was not claimed in %d claims of 50", failing/50+1)
}
