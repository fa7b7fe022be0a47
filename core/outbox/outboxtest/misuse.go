package outboxtest

import (
	"context"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// misuseTests are about arguments that cannot be carried out, contexts that
// have ended and stores that are closed.
var misuseTests = map[string]func(*env){
	"Arguments":        testArguments,
	"CancelledContext": testCancelledContext,
	"DeadlinePassed":   testDeadlinePassed,
	"Closed":           testClosed,
}

func testArguments(e *env) {
	e.opened()
	invalid := func(err error, what string) {
		e.Helper()
		assert.ErrorIs(e, err, outbox.ErrInvalid, what)
	}
	insert := func(change func(*outbox.Record)) error {
		record := e.record(topic)
		change(&record)
		return e.store.Insert(e.ctx, 0, record)
	}
	invalid(insert(func(r *outbox.Record) { r.ID = "" }), "empty ID")
	invalid(insert(func(r *outbox.Record) { r.Topic = "" }), "empty topic")
	for _, text := range []string{"\xff", "a\x00b"} {
		invalid(insert(func(r *outbox.Record) { r.ID = text }), "ID that is no text")
		invalid(insert(func(r *outbox.Record) { r.Topic = text }), "topic that is no text")
	}
	invalid(insert(func(r *outbox.Record) { r.State = 7 }), "unknown state")

	claim := func(options outbox.ClaimOptions) error {
		records, err := e.store.Claim(e.ctx, options)
		assert.Empty(e, records)
		return err
	}
	e.inserted(1)
	invalid(claim(outbox.ClaimOptions{Lease: long}), "Limit 0")
	invalid(claim(outbox.ClaimOptions{Limit: -1, Lease: long}), "Limit -1")
	invalid(claim(outbox.ClaimOptions{Limit: 1}), "Lease 0")
	invalid(claim(outbox.ClaimOptions{Limit: 1, Lease: -long}), "Lease below zero")
	invalid(claim(outbox.ClaimOptions{Limit: 1, Lease: long, MaxBytes: -1}), "MaxBytes below zero")
	assert.Equal(e, 1, e.claimOne(long).Attempts, "none of them counted")

	_, err := e.store.List(e.ctx, outbox.Query{Limit: -1})
	invalid(err, "Limit below zero")
	assert.Len(e, e.all(), 1)
}

// calls calls every method of a store that takes a context.
func (e *env) calls(ctx context.Context) map[string]error {
	calls := map[string]error{
		"Check":  e.store.Check(ctx),
		"Insert": e.store.Insert(ctx, 0, e.record(topic)),
	}
	_, calls["Claim"] = e.store.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: long})
	_, calls["Delete"] = e.store.Delete(ctx, "unknown")
	_, calls["Reschedule"] = e.store.Reschedule(ctx, outbox.Change{ID: "unknown", LeaseToken: "none"})
	_, _, calls["Next"] = e.store.Next(ctx)
	_, calls["Stats"] = e.store.Stats(ctx)
	_, calls["List"] = e.store.List(ctx, outbox.Query{})
	_, calls["Retry"] = e.store.Retry(ctx, outbox.Selection{All: true})
	_, calls["Discard"] = e.store.Discard(ctx, outbox.Selection{All: true})
	return calls
}

func testCancelledContext(e *env) {
	e.opened()
	record := e.inserted(1)[0]
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	for method, err := range e.calls(ctx) {
		assert.ErrorIs(e, err, context.Canceled, method)
	}
	require.Equal(e, []string{record.ID}, ids(e.all()), "nothing was inserted or discarded")
	assert.Zero(e, e.find(record.ID).Attempts, "nothing was claimed")
}

func testDeadlinePassed(e *env) {
	e.opened()
	ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
	defer cancel()
	for method, err := range e.calls(ctx) {
		assert.ErrorIs(e, err, context.DeadlineExceeded, method)
	}
}

func testClosed(e *env) {
	e.opened()
	closer, ok := e.store.(interface{ Close() error })
	if !ok {
		e.Skip("the store has no Close")
	}
	e.inserted(1)
	require.NoError(e, closer.Close())
	for method, err := range e.calls(e.ctx) {
		assert.ErrorIs(e, err, outbox.ErrClosed, method)
	}
	require.NoError(e, closer.Close(), "closing again does nothing")
}
