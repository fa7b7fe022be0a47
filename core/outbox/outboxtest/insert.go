package outboxtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// insertTests are about Insert and the records afterwards.
var insertTests = map[string]func(*env){
	"RoundTrip":            testRoundTrip,
	"BytesExact":           testBytesExact,
	"DeliverAt":            testDeliverAt,
	"Attempts":             testAttempts,
	"TimesAreTheStores":    testTimesAreTheStores,
	"AllOrNone":            testAllOrNone,
	"Nothing":              testInsertNothing,
	"Repeated":             testRepeatedInsert,
	"RepeatedWithinCall":   testRepeatedWithinCall,
	"RepeatedConcurrently": testRepeatedConcurrently,
	"LongNames":            testLongNames,
	"Delay":                testDelay,
	"NegativeDelay":        testNegativeDelay,
	"Held":                 testHeldInsert,
	"Dead":                 testDeadInsert,
	"Copies":               testCopies,
}

func testRoundTrip(e *env) {
	e.opened()
	want := e.record(topic)
	want.DeliverAt = time.Now().Add(long).Truncate(time.Microsecond)
	want.LastError = "server answered 503"
	e.insert(want)

	got := e.find(want.ID)
	assert.Equal(e, want.ID, got.ID)
	assert.Equal(e, want.Topic, got.Topic)
	assert.Equal(e, string(want.Payload), string(got.Payload))
	assert.Equal(e, string(want.Attributes), string(got.Attributes))
	assert.True(e, want.DeliverAt.Equal(got.DeliverAt), "DeliverAt is %s, want %s", got.DeliverAt, want.DeliverAt)
	assert.Equal(e, want.LastError, got.LastError)
	assert.Equal(e, outbox.Pending, got.State)
	assert.Empty(e, got.LeaseToken, "no claim holds it")
	assert.Zero(e, got.Attempts)

	claimed := e.claimOne(long)
	got = e.find(want.ID)
	assert.Equal(e, got.LeaseToken, claimed.LeaseToken)
	assert.Equal(e, got.Attempts, claimed.Attempts)
	assert.True(e, got.DueAt.Equal(claimed.DueAt), "claim and list agree on DueAt")
	assert.True(e, got.CreatedAt.Equal(claimed.CreatedAt), "claim and list agree on CreatedAt")
	assert.True(e, want.DeliverAt.Equal(claimed.DeliverAt))
	assert.Equal(e, string(want.Payload), string(claimed.Payload))
	assert.Equal(e, string(want.Attributes), string(claimed.Attributes))
	assert.Equal(e, want.LastError, claimed.LastError)
	assert.Equal(e, want.Topic, claimed.Topic)
	assert.Equal(e, want.Size(), claimed.Size())
	assert.Equal(e, want.Size(), got.Size())
}

func testBytesExact(e *env) {
	e.opened()
	payloads := []string{
		`{}`,
		"{ \"b\" : 1,\n\t\"a\" : [ 1.0 , 1e2 ] }\r\n",
		`{"a":1,"a":2,"n":12345678901234567890.123,"z":-0.0}`,
		`{"text":"Zażółć gęślą 🐎 \u0001 \u2028 \\ ' \" %s ? $1 <&>"}`,
		"{\"raw\":\"e\u0301 \u00e9 \u2028\"}",
		`{"large":"` + strings.Repeat("postoffice ", 100_000) + `"}`,
	}
	records := e.records(len(payloads))
	for i, payload := range payloads {
		records[i].Payload = json.RawMessage(payload)
		records[i].Attributes = json.RawMessage(` { "k" : "` + strings.Repeat("ż", i) + `" } `)
	}
	e.insert(records...)
	for _, got := range [][]outbox.Record{e.all(), e.claim(len(records), long)} {
		require.ElementsMatch(e, ids(records), ids(got))
		for _, record := range got {
			want := records[indexOf(records, record.ID)]
			if !bytes.Equal(want.Payload, record.Payload) { // too long to print
				assert.Fail(e, "the payload has changed", "one of %d bytes", len(want.Payload))
			}
			assert.Equal(e, string(want.Attributes), string(record.Attributes))
		}
	}
}

func testDeliverAt(e *env) {
	e.opened()
	times := []time.Time{
		{},
		time.Unix(0, 0),
		time.Unix(-1, 999_999_000),
		time.Unix(1_700_000_000, 123_456_000),
		time.Unix(1_700_000_000, 1_000).In(time.FixedZone("", 2*60*60)),
		time.Date(2262, 1, 1, 0, 0, 0, 999_999_000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	}
	records := e.records(len(times))
	for i, at := range times {
		records[i].DeliverAt = at
	}
	e.insert(records...)
	for i, at := range times {
		got := e.find(records[i].ID).DeliverAt
		assert.True(e, at.Equal(got), "DeliverAt is %s, want %s", got, at)
		assert.Equal(e, at.IsZero(), got.IsZero())
	}
}

// Attempts from before the insert count.
func testAttempts(e *env) {
	e.opened()
	records := e.records(3)
	records[1].Attempts, records[2].Attempts = 1, 7
	records[2].State = outbox.Dead
	e.insert(records...)
	for i, want := range []int{0, 1, 7} {
		assert.Equal(e, want, e.find(records[i].ID).Attempts)
	}
	for _, claimed := range e.claim(10, long) {
		want := 1
		if claimed.ID == records[1].ID {
			want = 2
		}
		assert.Equal(e, want, claimed.Attempts)
	}
}

func testTimesAreTheStores(e *env) {
	e.opened()
	record := e.record(topic)
	record.CreatedAt = time.Now().Add(-1000 * long)
	record.DueAt = time.Now().Add(1000 * long)
	before := time.Now()
	e.insert(record)

	claimed := e.claimOne(long)
	assert.InDelta(e, 0, claimed.CreatedAt.Sub(before).Seconds(), 60, "CreatedAt is by the store's clock")
	assert.InDelta(e, long.Seconds(), claimed.DueAt.Sub(before).Seconds(), 60, "DueAt is the end of the lease")
}

func testAllOrNone(e *env) {
	e.opened()
	records := e.records(3)
	records[1].Topic = ""
	require.ErrorIs(e, e.store.Insert(e.ctx, 0, records...), outbox.ErrInvalid)
	assert.Empty(e, e.all(), "none of the records is kept")
	assert.Zero(e, e.stats())

	records[1].Topic = topic
	e.insert(records...)
	assert.Equal(e, ids(records), ids(e.all()), "all of the records are kept")
}

func testInsertNothing(e *env) {
	e.opened()
	require.NoError(e, e.store.Insert(e.ctx, 0))
	assert.Empty(e, e.all())
}

func testRepeatedInsert(e *env) {
	e.opened()
	first := e.inserted(1)[0]
	claimed := e.claimOne(long)
	e.reschedule(1, outbox.Change{ID: first.ID, LeaseToken: claimed.LeaseToken, After: long, LastError: "timeout"})
	before := e.find(first.ID)

	again := first
	again.Topic, again.Payload, again.LeaseToken = "other", json.RawMessage(`{"other":true}`), "other"
	fresh := e.record(topic)
	e.insert(again, fresh)
	assert.Equal(e, before, e.find(first.ID), "the record is left as it was")
	assert.Equal(e, []string{fresh.ID}, ids(e.claim(10, long)), "the record beside it is inserted")
	assert.Equal(e, size(first, fresh), e.stats().Bytes, "and nothing is counted twice")
}

func testRepeatedWithinCall(e *env) {
	e.opened()
	first := e.record(topic)
	again := first
	again.Payload = json.RawMessage(`{"other":true}`)
	e.insert(first, again)
	require.Len(e, e.all(), 1)
	assert.Equal(e, string(first.Payload), string(e.find(first.ID).Payload), "the first of them counts")
	assert.Equal(e, size(first), e.stats().Bytes)
}

func testRepeatedConcurrently(e *env) {
	e.opened()
	records := e.records(20)
	errs := make(chan error, 32*len(records))
	var group sync.WaitGroup
	for worker := range 32 {
		group.Go(func() {
			for i := range records {
				errs <- e.store.Insert(e.ctx, 0, records[(i+worker)%len(records)])
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(e, err)
	}
	assert.Equal(e, ids(records), ids(e.all()))
	assert.Equal(e, size(records...), e.stats().Bytes)
}

func testLongNames(e *env) {
	e.opened()
	record := e.record(strings.Repeat("ż", 255))
	record.ID = strings.Repeat("i", 255)
	record.LeaseToken = strings.Repeat("t", 64)
	require.NoError(e, e.store.Insert(e.ctx, 0, record))
	claimed := e.claimOne(long)
	assert.Equal(e, record.ID, claimed.ID)
	assert.Equal(e, record.Topic, claimed.Topic)
	e.reschedule(1, change(claimed, 0))
	n, err := e.store.Delete(e.ctx, record.ID)
	require.NoError(e, err)
	assert.Equal(e, 1, n)
}

func testDelay(e *env) {
	e.opened()
	records := e.records(2)
	require.NoError(e, e.store.Insert(e.ctx, long, records...))
	assert.Empty(e, e.claim(10, long), "not due before the delay has passed")
	assert.InDelta(e, long.Seconds(), e.next().Seconds(), 60)

	delayed := e.record(topic)
	start := time.Now()
	require.NoError(e, e.store.Insert(e.ctx, e.short, delayed))
	if e.suite.bubble {
		e.pass(e.short - time.Microsecond)
		assert.Empty(e, e.claim(10, long), "not due a microsecond before the delay has passed")
		assert.Equal(e, time.Microsecond, e.next())
	}
	e.untilDue()
	assert.Equal(e, delayed.ID, e.claimOne(long).ID)
	assert.GreaterOrEqual(e, time.Since(start), e.short-time.Millisecond)
}

func testNegativeDelay(e *env) {
	e.opened()
	record := e.record(topic)
	require.NoError(e, e.store.Insert(e.ctx, -long, record))
	assert.InDelta(e, 0, time.Since(e.find(record.ID).DueAt).Seconds(), 60, "a delay below zero counts as zero")
	assert.Equal(e, record.ID, e.claimOne(long).ID)
}

func testHeldInsert(e *env) {
	e.opened()
	record := e.record(topic)
	record.LeaseToken = "holder"
	record.Attempts = 1
	require.NoError(e, e.store.Insert(e.ctx, long, record))
	assert.Empty(e, e.claim(10, long), "held until due")
	assert.Equal(e, "holder", e.find(record.ID).LeaseToken)
	assert.Equal(e, 1, e.stats().Held)
	e.reschedule(0, outbox.Change{ID: record.ID, LeaseToken: "another"})
	e.reschedule(1, outbox.Change{ID: record.ID, LeaseToken: "holder", LastError: "timeout"})

	claimed := e.claimOne(long)
	assert.Equal(e, 2, claimed.Attempts, "the insert is no claim")
	assert.Equal(e, "timeout", claimed.LastError)
	assert.NotEqual(e, "holder", claimed.LeaseToken)

	// The record of a process that died is claimed again.
	other := e.record(topic)
	other.LeaseToken = "dead process"
	require.NoError(e, e.store.Insert(e.ctx, e.short, other))
	e.untilDue()
	claimed = e.claimOne(long)
	assert.Equal(e, other.ID, claimed.ID)
	e.reschedule(0, outbox.Change{ID: other.ID, LeaseToken: "dead process"})
}

func testDeadInsert(e *env) {
	e.opened()
	record := e.record(topic)
	record.State, record.LastError = outbox.Dead, "server answered 400"
	e.insert(record)
	assert.Empty(e, e.claim(10, long), "dead records are not tried")
	got := e.find(record.ID)
	assert.Equal(e, outbox.Dead, got.State)
	assert.Equal(e, record.LastError, got.LastError)
	assert.Equal(e, 1, e.stats().Dead)
}

func testCopies(e *env) {
	e.opened()
	record := e.record(topic)
	payload, attributes := string(record.Payload), string(record.Attributes)
	e.insert(record)
	scribble := func(r outbox.Record) {
		for i := range r.Payload {
			r.Payload[i] = 'x'
		}
		for i := range r.Attributes {
			r.Attributes[i] = 'x'
		}
	}
	scribble(record)
	scribble(e.find(record.ID))
	claimed := e.claimOne(long)
	assert.Equal(e, payload, string(claimed.Payload))
	scribble(claimed)
	got := e.find(record.ID)
	assert.Equal(e, payload, string(got.Payload), "the store keeps bytes of its own")
	assert.Equal(e, attributes, string(got.Attributes), "the store keeps bytes of its own")
}

// indexOf returns the index of the record with an ID in a list, or -1.
func indexOf(records []outbox.Record, id string) int {
	for i, record := range records {
		if record.ID == id {
			return i
		}
	}
	return -1
}
