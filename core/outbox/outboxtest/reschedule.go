package outboxtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// rescheduleTests are about Reschedule and its fencing.
var rescheduleTests = map[string]func(*env){
	"After":              testRescheduleAfter,
	"LastError":          testLastError,
	"ForeignLastError":   testForeignLastError,
	"ReleasesClaim":      testReleasesClaim,
	"LateBeforeTakeover": testLateBeforeTakeover,
	"LateAfterTakeover":  testLateAfterTakeover,
	"PassedOver":         testPassedOver,
	"Untried":            testUntried,
	"Dead":               testRescheduleDead,
	"Several":            testSeveralChanges,
	"Hold":               testHold,
	"HoldEnds":           testHoldEnds,
	"HoldLate":           testHoldLate,
	"HoldWith":           testHoldWith,
}

func testRescheduleAfter(e *env) {
	e.opened()
	e.inserted(1)
	claimed := e.claimOne(long)
	e.reschedule(1, change(claimed, 0))
	claimed = e.claimOne(long)
	assert.Equal(e, 2, claimed.Attempts, "due now")

	e.reschedule(1, change(claimed, -long))
	claimed = e.claimOne(long)
	assert.Equal(e, 3, claimed.Attempts, "a wait below zero counts as zero")

	start := time.Now()
	e.reschedule(1, change(claimed, e.short))
	if e.suite.bubble {
		e.pass(e.short - time.Microsecond)
		assert.Empty(e, e.claim(10, long))
	}
	e.untilDue()
	claimed = e.claimOne(long)
	assert.GreaterOrEqual(e, time.Since(start), e.short-time.Millisecond)

	e.reschedule(1, change(claimed, long/2))
	assert.Empty(e, e.claim(10, long), "not due before the wait has passed")
	assert.InDelta(e, (long / 2).Seconds(), e.next().Seconds(), 60)
}

func testLastError(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	assert.Empty(e, e.find(record.ID).LastError, "empty before the first failure")
	for _, step := range []struct{ say, want string }{
		{"timeout", "timeout"},
		{"", "timeout"},
		{"server answered 503 for topic \"żółć\"", "server answered 503 for topic \"żółć\""},
	} {
		reschedule := change(e.claimOne(long), 0)
		reschedule.LastError = step.say
		e.reschedule(1, reschedule)
		assert.Equal(e, step.want, e.find(record.ID).LastError)
	}
	assert.NotEmpty(e, e.claimOne(long).LastError, "a claim tells it")
}

// testForeignLastError shows that no text of a server keeps a record, or one
// inserted with it, from being stored or given back. A store may replace what it
// cannot store.
func testForeignLastError(e *env) {
	e.opened()
	texts := []string{"\U0001F4EE is full", "caf\xe9", "\xf0\x9f", "a\x00b", "\uFEFF\uFFFE", "it's \"quoted\" \\"}
	records := e.records(len(texts))
	for i := range records {
		records[i].LastError = texts[i]
	}
	require.NoError(e, e.store.Insert(e.ctx, 0, records...))
	var changes []outbox.Change
	for i, record := range e.claim(len(texts), long) {
		assert.NotEmpty(e, record.LastError)
		changes = append(changes, change(record, long))
		changes[i].LastError = "again " + texts[i]
	}
	e.reschedule(len(texts), changes...)
	for _, record := range e.all() {
		assert.Empty(e, record.LeaseToken)
		assert.Contains(e, record.LastError, "again ")
	}
}

func testReleasesClaim(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(long)
	e.reschedule(1, change(claimed, long))
	assert.Empty(e, e.find(record.ID).LeaseToken, "no claim holds it")
	assert.Zero(e, e.stats().Held)
	e.reschedule(0, change(claimed, 0))
	assert.Empty(e, e.claim(10, long), "the second change was passed over")
}

func testLateBeforeTakeover(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(e.short)
	e.untilDue()
	e.reschedule(1, change(claimed, long))
	assert.Empty(e, e.claim(10, long), "the late holder's wait counts")
	assert.Equal(e, 1, e.find(record.ID).Attempts)
}

func testLateAfterTakeover(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	first := e.claimOne(e.short)
	e.untilDue()
	second := e.claimOne(long)
	before := e.find(record.ID)

	e.reschedule(0, change(first, 0))
	e.reschedule(0, outbox.Change{ID: first.ID, LeaseToken: first.LeaseToken, Dead: true, LastError: "late"})
	e.reschedule(0, outbox.Change{ID: first.ID, LeaseToken: first.LeaseToken, Untried: true})
	assert.Equal(e, before, e.find(record.ID), "another claim has it")
	e.reschedule(1, change(second, 0))
}

func testPassedOver(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	e.reschedule(0, outbox.Change{ID: record.ID, After: long})
	e.reschedule(0, outbox.Change{ID: record.ID, LeaseToken: "none", After: long})
	e.reschedule(0, outbox.Change{ID: "unknown", LeaseToken: "none", After: long})
	e.reschedule(0)
	claimed := e.claimOne(long)
	assert.Equal(e, 1, claimed.Attempts, "nobody held it, and nothing changed")

	_, err := e.store.Delete(e.ctx, record.ID)
	require.NoError(e, err)
	e.reschedule(0, change(claimed, 0))
	assert.Empty(e, e.all(), "what is deleted stays so")
}

func testUntried(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	for _, untried := range []bool{false, true, true, false, true} {
		before := e.find(record.ID).Attempts
		claimed := e.claimOne(long)
		assert.Equal(e, before+1, claimed.Attempts)
		reschedule := change(claimed, 0)
		reschedule.Untried = untried
		e.reschedule(1, reschedule)
		if untried {
			assert.Equal(e, before, e.find(record.ID).Attempts, "the attempt is taken back")
		} else {
			assert.Equal(e, before+1, e.find(record.ID).Attempts)
		}
	}

	held := e.record(topic)
	held.LeaseToken = "holder"
	require.NoError(e, e.store.Insert(e.ctx, long, held))
	e.reschedule(1, outbox.Change{ID: held.ID, LeaseToken: "holder", Untried: true, After: long})
	assert.Zero(e, e.find(held.ID).Attempts, "never below zero")
}

func testRescheduleDead(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(long)
	e.reschedule(1, outbox.Change{ID: record.ID, LeaseToken: claimed.LeaseToken, Dead: true, LastError: "server answered 400"})
	got := e.find(record.ID)
	assert.Equal(e, outbox.Dead, got.State)
	assert.Equal(e, "server answered 400", got.LastError)
	assert.Equal(e, 1, got.Attempts)
	assert.Empty(e, got.LeaseToken)
	assert.Equal(e, string(record.Payload), string(got.Payload), "it is kept")

	assert.Empty(e, e.claim(10, long), "and not tried again")
	_, pending, err := e.store.Next(e.ctx)
	require.NoError(e, err)
	assert.False(e, pending)
	e.reschedule(0, change(claimed, 0))
	assert.Equal(e, outbox.Dead, e.find(record.ID).State, "its claim is over")
}

func testSeveralChanges(e *env) {
	e.opened()
	e.inserted(5)
	claimed := e.claim(10, long)
	require.Len(e, claimed, 5)
	changes := []outbox.Change{
		change(claimed[0], 0),
		change(claimed[1], long),
		{ID: claimed[2].ID, LeaseToken: "another"},
		{ID: claimed[3].ID, LeaseToken: claimed[3].LeaseToken, Dead: true},
		{ID: claimed[4].ID, LeaseToken: claimed[4].LeaseToken, Untried: true},
	}
	e.reschedule(4, changes...)
	assert.ElementsMatch(e, []string{claimed[0].ID, claimed[4].ID}, ids(e.claim(10, long)))
	assert.Equal(e, 1, e.stats().Dead)
	assert.Equal(e, claimed[2].LeaseToken, e.find(claimed[2].ID).LeaseToken)
	assert.Equal(e, 1, e.find(claimed[4].ID).Attempts)
	assert.Equal(e, 2, e.find(claimed[0].ID).Attempts)
}

// hold returns a change that renews a claim's lease.
func hold(claimed outbox.Record, after time.Duration) outbox.Change {
	renewed := change(claimed, after)
	renewed.Hold = true
	return renewed
}

func testHold(e *env) {
	e.opened()
	e.inserted(2)
	claimed := e.claim(10, long)
	require.Len(e, claimed, 2)
	e.reschedule(1, hold(claimed[0], 2*long))
	got := e.find(claimed[0].ID)
	assert.Equal(e, claimed[0].LeaseToken, got.LeaseToken, "the claim goes on")
	assert.Equal(e, 1, got.Attempts, "and is no new attempt")
	assert.Equal(e, 2, e.stats().Held)
	assert.InDelta(e, long.Seconds(), got.DueAt.Sub(claimed[0].DueAt).Seconds(), 60)
	assert.Equal(e, claimed[1].LeaseToken, e.find(claimed[1].ID).LeaseToken, "the other record is as it was")
	assert.Empty(e, e.claim(10, long))

	e.reschedule(1, hold(claimed[0], long), hold(outbox.Record{ID: claimed[1].ID, LeaseToken: "another"}, long))
	e.reschedule(1, change(claimed[0], 0))
	assert.Empty(e, e.find(claimed[0].ID).LeaseToken, "it can still be given back")
	assert.Equal(e, claimed[0].ID, e.claimOne(long).ID)
	e.reschedule(0, hold(claimed[0], 0))
}

func testHoldEnds(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	first := e.claimOne(long)
	e.reschedule(1, hold(first, e.short))
	if e.suite.bubble {
		e.pass(e.short - time.Microsecond)
		assert.Empty(e, e.claim(10, long))
	}
	e.untilDue()
	second := e.claimOne(long)
	assert.Equal(e, record.ID, second.ID)
	assert.Equal(e, 2, second.Attempts)
	e.reschedule(0, hold(first, long))
	assert.Equal(e, second.LeaseToken, e.find(record.ID).LeaseToken, "another claim has it")

	e.reschedule(1, hold(second, -long))
	assert.Len(e, e.claim(10, long), 1, "a wait below zero counts as zero")
}

func testHoldLate(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(e.short)
	e.untilDue()
	e.reschedule(1, hold(claimed, long))
	assert.Empty(e, e.claim(10, long), "no other claim had taken it")
	assert.Equal(e, claimed.LeaseToken, e.find(record.ID).LeaseToken)
}

func testHoldWith(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	claimed := e.claimOne(long)
	renewed := hold(claimed, long)
	renewed.Untried, renewed.LastError = true, "timeout"
	e.reschedule(1, renewed)
	got := e.find(record.ID)
	assert.Zero(e, got.Attempts, "the attempt is taken back")
	assert.Equal(e, "timeout", got.LastError)
	assert.Equal(e, claimed.LeaseToken, got.LeaseToken)

	renewed.Dead = true
	e.reschedule(1, renewed)
	got = e.find(record.ID)
	assert.Equal(e, outbox.Dead, got.State)
	assert.Empty(e, got.LeaseToken, "no claim holds a dead record")
}
