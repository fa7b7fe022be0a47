package outboxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// long is a duration that does not pass in a test.
const long = time.Hour

// topic is the topic of records if the topic does not matter.
const topic = "orders"

// env is the environment of one test.
type env struct {
	*testing.T
	suite *suite
	ctx   context.Context
	// short is a lease or delay that passes in a test. Outside a bubble, a test must
	// not rely on it not having passed yet.
	short time.Duration
	store outbox.Store
}

func newEnv(t *testing.T, s *suite) *env {
	e := &env{T: t, suite: s, short: 30 * time.Millisecond}
	limit := time.Minute
	if s.bubble {
		e.short, limit = time.Minute, 10_000*time.Hour
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	e.ctx = ctx
	return e
}

// opened opens the store of the test.
func (e *env) opened() {
	e.Helper()
	e.store = e.suite.open(e.T)
}

// record creates a record for a topic with a unique payload.
func (e *env) record(topic string) outbox.Record {
	e.Helper()
	id, err := uuid.NewV7()
	require.NoError(e, err)
	return outbox.Record{
		ID:         id.String(),
		Topic:      topic,
		Payload:    json.RawMessage(fmt.Sprintf(`{"id":%q}`, id)),
		Attributes: json.RawMessage(`{"a":"1","b":"2"}`),
	}
}

// records creates n records of the topic.
func (e *env) records(n int) []outbox.Record {
	e.Helper()
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = e.record(topic)
	}
	return records
}

// insert inserts records that are due now.
func (e *env) insert(records ...outbox.Record) {
	e.Helper()
	require.NoError(e, e.store.Insert(e.ctx, 0, records...))
}

// inserted inserts n records that are due now and returns them.
func (e *env) inserted(n int) []outbox.Record {
	e.Helper()
	records := e.records(n)
	e.insert(records...)
	return records
}

// claimWith claims with options.
func (e *env) claimWith(options outbox.ClaimOptions) []outbox.Record {
	e.Helper()
	records, err := e.store.Claim(e.ctx, options)
	require.NoError(e, err)
	return records
}

// claim claims up to limit records for a lease.
func (e *env) claim(limit int, lease time.Duration) []outbox.Record {
	e.Helper()
	return e.claimWith(outbox.ClaimOptions{Limit: limit, Lease: lease})
}

// claimOne claims the only due record for a lease.
func (e *env) claimOne(lease time.Duration) outbox.Record {
	e.Helper()
	records := e.claim(10, lease)
	require.Len(e, records, 1, "one record is due")
	return records[0]
}

// reschedule applies changes and expects the given number to take effect.
func (e *env) reschedule(want int, changes ...outbox.Change) {
	e.Helper()
	n, err := e.store.Reschedule(e.ctx, changes...)
	require.NoError(e, err)
	require.Equal(e, want, n, "changes that took effect")
}

// all lists every record.
func (e *env) all() []outbox.Record {
	e.Helper()
	return e.list(outbox.Query{Limit: 100_000})
}

// find returns the record with an ID from List.
func (e *env) find(id string) outbox.Record {
	e.Helper()
	all := e.all()
	i := slices.IndexFunc(all, func(r outbox.Record) bool { return r.ID == id })
	require.GreaterOrEqual(e, i, 0, "record %s is in the store", id)
	return all[i]
}

// next returns the result of Next, which must find a pending record.
func (e *env) next() time.Duration {
	e.Helper()
	wait, ok, err := e.store.Next(e.ctx)
	require.NoError(e, err)
	require.True(e, ok, "a record is pending")
	require.GreaterOrEqual(e, wait, time.Duration(0))
	return wait
}

// stats returns the store's counts.
func (e *env) stats() outbox.Stats {
	e.Helper()
	stats, err := e.store.Stats(e.ctx)
	require.NoError(e, err)
	return stats
}

// pass lets time pass.
func (e *env) pass(d time.Duration) {
	e.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.ctx.Done():
		require.NoError(e, e.ctx.Err())
	}
}

// tick ensures that what follows has a later time.
func (e *env) tick() {
	e.Helper()
	e.pass(time.Millisecond)
}

// untilDue waits until a pending record is due according to Next.
func (e *env) untilDue() {
	e.Helper()
	for {
		wait := e.next()
		if wait == 0 {
			return
		}
		e.pass(wait)
	}
}

// ids returns the records' IDs.
func ids(records []outbox.Record) []string {
	list := make([]string, len(records))
	for i, record := range records {
		list[i] = record.ID
	}
	return list
}

// size returns the sum of the records' sizes.
func size(records ...outbox.Record) int64 {
	var sum int64
	for _, record := range records {
		sum += record.Size()
	}
	return sum
}

// change returns a change for a claimed record.
func change(claimed outbox.Record, after time.Duration) outbox.Change {
	return outbox.Change{ID: claimed.ID, LeaseToken: claimed.LeaseToken, After: after}
}
