package outboxtest

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// misuseTests are about invalid arguments, ended contexts and closed stores.
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
	invalid(insert(func(r *outbox.Record) { r.DedupKey = strings.Repeat("k", outbox.MaxIDLength+1) }), "long key")
	for _, text := range []string{"\xff", "a\x00b"} {
		invalid(insert(func(r *outbox.Record) { r.ID = text }), "ID that is no text")
		invalid(insert(func(r *outbox.Record) { r.Topic = text }), "topic that is no text")
		invalid(insert(func(r *outbox.Record) { r.DedupKey = text }), "key that is no text")
	}
	invalid(insert(func(r *outbox.Record) { r.State = 7 }), "unknown state")
	invalid(insert(func(r *outbox.Record) { r.Attempts = -1 }), "Attempts below zero")
	for _, year := range []int{-300_000, -1, 10_000, 300_000} {
		invalid(insert(func(r *outbox.Record) { r.DeliverAt = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }), "DeliverAt that no database keeps")
	}

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
	for field, options := range map[string]outbox.ClaimOptions{
		"PerTopic is -1":        {PerTopic: -1},
		"AfterTopic needs":      {AfterTopic: topic},
		"SkipTopics needs":      {SkipTopics: []string{topic}},
		"AfterTopic is not":     {PerTopic: 1, AfterTopic: "\xff"},
		"SkipTopics[1] is not ": {PerTopic: 1, SkipTopics: []string{"a", "a\x00b"}},
	} {
		options.Limit, options.Lease = 1, long
		err := claim(options)
		invalid(err, field)
		assert.ErrorContains(e, err, "ClaimOptions."+field)
	}
	assert.Equal(e, 1, e.claimOne(long).Attempts, "none of them counted")

	list := func(query outbox.Query) error {
		records, err := e.store.List(e.ctx, query)
		assert.Empty(e, records)
		return err
	}
	invalid(list(outbox.Query{Limit: -1}), "Limit below zero")
	calls := map[string]func(context.Context, outbox.Selection) (int, error){
		"Retry": e.store.Retry, "Discard": e.store.Discard, "Count": e.store.Count,
	}
	for field, selection := range map[string]outbox.Selection{
		"Topic is set beside IDs": {IDs: []string{"a"}, Topic: topic},
		"All is set beside IDs":   {IDs: []string{"a"}, All: true},
		"All is set beside Topic": {Topic: topic, All: true},
	} {
		for method, call := range calls {
			n, err := call(e.ctx, selection)
			assert.Zero(e, n)
			invalid(err, method+": "+field)
			assert.ErrorContains(e, err, "Selection."+field, method)
		}
	}
	for _, text := range []string{"\xff", "a\x00b"} {
		invalid(list(outbox.Query{IDs: []string{"a", text}}), "ID that is no text")
		invalid(list(outbox.Query{Topic: text}), "topic that is no text")
		invalid(list(outbox.Query{After: text}), "After that is no text")
		invalid(list(outbox.Query{DedupKey: text}), "key that is no text")
		for _, selection := range []outbox.Selection{{IDs: []string{"a", text}}, {Topic: text}} {
			for method, call := range calls {
				n, err := call(e.ctx, selection)
				assert.Zero(e, n)
				invalid(err, method+": selection that is no text")
			}
		}
	}
	for _, change := range []func(*outbox.Record){
		func(r *outbox.Record) { r.Payload = nil },
		func(r *outbox.Record) { r.Payload = r.Payload[:len(r.Payload)-1] },
		func(r *outbox.Record) { r.Payload = json.RawMessage(`["a"]`) },
		func(r *outbox.Record) { r.Attributes = nil },
		func(r *outbox.Record) { r.Attributes = r.Attributes[:1] },
	} {
		invalid(insert(change), "no JSON object")
	}
	assert.Len(e, e.all(), 1)
}

// calls calls every method of a store that takes a context.
func (e *env) calls(ctx context.Context) map[string]error {
	calls := map[string]error{
		"Check":  e.store.Check(ctx),
		"Insert": e.store.Insert(ctx, 0, e.record(topic)),
	}
	_, calls["Claim"] = e.store.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: long})
	_, calls["Claim by topic"] = e.store.Claim(ctx, outbox.ClaimOptions{Limit: 1, PerTopic: 1, Lease: long})
	_, calls["Delete"] = e.store.Delete(ctx, "unknown")
	_, calls["Reschedule"] = e.store.Reschedule(ctx, outbox.Change{ID: "unknown", LeaseToken: "none"})
	_, _, calls["Next"] = e.store.Next(ctx)
	_, calls["Stats"] = e.store.Stats(ctx)
	if counter, ok := e.store.(outbox.TopicCounter); ok {
		_, calls["CountTopics"] = counter.CountTopics(ctx, 1)
	}
	_, calls["List"] = e.store.List(ctx, outbox.Query{})
	_, calls["List of IDs"] = e.store.List(ctx, outbox.Query{IDs: []string{"unknown"}})
	_, calls["Count"] = e.store.Count(ctx, outbox.Selection{All: true})
	_, calls["Count of a topic"] = e.store.Count(ctx, outbox.Selection{Topic: topic})
	_, calls["Count of nothing"] = e.store.Count(ctx, outbox.Selection{})
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
