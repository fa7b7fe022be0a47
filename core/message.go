package core

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// batch is messages that may share one request: they have the topic, the
// attributes and the time of delivery in common.
type batch struct {
	topic      string
	attributes []byte    // JSON object of strings
	deliverAt  time.Time // zero: as soon as possible
	payloads   [][]byte  // JSON objects
	// identity says how the messages get ids of their own at once; nil for
	// those that get one when they are stored. ids are these ids, and each
	// the attributes of each message, if the id is one of them.
	identity *identity
	ids      []string
	each     [][]byte
	// tried counts the attempts before this one.
	tried int
	// bulk is the body of a bulk request with all the payloads, if it is at
	// hand, and readers counts who may still read it, if somebody asks.
	bulk    []byte
	readers *atomic.Int32
	// tryOnce tells that a request which fails is not tried again at once.
	tryOnce bool
	// origins is what the observer wants to know of the messages when they
	// are sent after their call.
	origins []any
}

// scheduled tells whether the server is to hold the messages back.
func (b batch) scheduled() bool {
	return !b.deliverAt.IsZero() && b.deliverAt.After(time.Now())
}

// records makes the outbox's form of the payloads.
func (b batch) records() ([]outbox.Record, error) {
	records := make([]outbox.Record, len(b.payloads))
	for i, payload := range b.payloads {
		id, err := b.idOf(i)
		if err != nil {
			return nil, err
		}
		records[i] = outbox.Record{
			ID: id, Topic: b.topic, Payload: payload, Attributes: b.attributesOf(i), DeliverAt: b.deliverAt,
		}
		if b.identity != nil {
			records[i].DedupKey = b.identity.derived
		}
	}
	return records, nil
}

// idOf returns the id of a message, which is a new one if it has none yet.
func (b batch) idOf(index int) (string, error) {
	if b.ids != nil {
		return b.ids[index], nil
	}
	return newID()
}

// failedRecords makes the outbox's form of the payloads with the given
// indexes, which failed as errs tells.
func (b batch) failedRecords(indexes []int, errs []*failure) ([]outbox.Record, error) {
	records, err := b.pick(indexes).records()
	for i := range records {
		f := errs[indexes[i]]
		records[i].LastError = f.Error()
		records[i].Attempts = b.tried
		if !f.untried {
			records[i].Attempts++
		}
		if f.class == permanent {
			records[i].State = outbox.Dead
		}
	}
	return records, err
}

// pick returns the batch with only the payloads with the given indexes.
func (b batch) pick(indexes []int) batch {
	picked := b
	picked.payloads = pickEach(b.payloads, indexes)
	picked.ids = pickEach(b.ids, indexes)
	picked.each = pickEach(b.each, indexes)
	picked.bulk, picked.readers = nil, nil
	return picked
}

// pickEach returns the items with the given indexes; nil of nil.
func pickEach[T any](items []T, indexes []int) []T {
	if items == nil {
		return nil
	}
	picked := make([]T, len(indexes))
	for i, index := range indexes {
		picked[i] = items[index]
	}
	return picked
}

// attributesOf returns the attributes of a message.
func (b batch) attributesOf(index int) []byte {
	if b.each != nil {
		return b.each[index]
	}
	return b.attributes
}

// ids returns the ids of records.
func ids(records []outbox.Record) []string {
	list := make([]string, len(records))
	for i, record := range records {
		list[i] = record.ID
	}
	return list
}

// PublishOption changes how a message is published.
type PublishOption func(*publishOptions)

type publishOptions struct {
	attributes []attributeSet
	room       [2]attributeSet // for the first of them
	deliverAt  time.Time
	identity   identity
	// problems are those of the last option of a kind.
	problems struct{ deliverAt, dedupKey *FieldError }
}

// WithAttributes adds attributes to the message. Values are cast to strings:
// strings as they are, booleans, numbers without an exponent, times as RFC 3339,
// durations as in "1.5s", others by [encoding.TextMarshaler], [fmt.Stringer] or
// error. nil, []byte, NaN, what has no text, an empty name, a NUL and invalid
// UTF-8 are refused with ErrInvalidMessage. A later attribute replaces an earlier
// one of the same name.
func WithAttributes(attributes map[string]any) PublishOption {
	return func(o *publishOptions) { o.attributes = append(o.attributes, attributeSet{many: attributes}) }
}

// WithAttribute adds one attribute to the message, as WithAttributes does.
func WithAttribute(name string, value any) PublishOption {
	return func(o *publishOptions) {
		o.attributes = append(o.attributes, attributeSet{single: true, name: name, value: value})
	}
}

// DeliverAt has the server hold the message back until t, rounded up to the
// microsecond. A time that has passed, however long ago, means at once. The zero time and years
// after 9999, which the server cannot read, are refused with
// ErrInvalidMessage. A message that waits in the outbox keeps its time.
//
// The server has no bulk request for scheduled messages: with PublishBulk
// each payload costs a request.
func DeliverAt(t time.Time) PublishOption {
	return func(o *publishOptions) {
		o.deliverAt, o.problems.deliverAt = deliveryTime(t)
	}
}

// deliveryTime returns the time as the server and the outbox can keep it: zero
// for one that has passed, otherwise rounded up to the microsecond, because
// consumers must not get the message before.
func deliveryTime(t time.Time) (time.Time, *FieldError) {
	const field = "DeliverAt"
	end := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.IsZero():
		return t, fieldError(field, "is the zero time")
	case !t.Before(end):
		return t, fieldError(field, "is after the year 9999")
	case !t.After(time.Now()):
		return time.Time{}, nil
	}
	t = t.Add(time.Microsecond - 1).UTC().Truncate(time.Microsecond)
	if !t.Before(end) {
		t = end.Add(-time.Microsecond)
	}
	return t, nil
}

// DeliverIn is DeliverAt the time after d, counted from the call to Publish.
// Zero and negative durations mean at once.
func DeliverIn(d time.Duration) PublishOption {
	return func(o *publishOptions) { DeliverAt(time.Now().Add(d))(o) }
}

// Payloads turns a slice of any type into the argument of PublishBulk.
func Payloads[T any](items []T) []any {
	payloads := make([]any, len(items))
	for i, item := range items {
		payloads[i] = item
	}
	return payloads
}

// invalid marks a field's problem as a message that is not accepted.
func invalid(err error) error {
	return fmt.Errorf("%w: %w", ErrInvalidMessage, err)
}

// newBatch checks the parts that all payloads of a call share.
func newBatch(topic string, base map[string]any, options []PublishOption) (batch, error) {
	if problem := checkTopic("topic", topic); problem != nil {
		return batch{}, invalid(problem)
	}
	if len(options) == 0 && len(base) == 0 {
		attributes, err := encodeAttributes()
		return batch{topic: topic, attributes: attributes}, err
	}
	var o publishOptions // on the heap, for the options take its address
	o.attributes = o.room[:0]
	if len(base) > 0 {
		o.attributes = append(o.attributes, attributeSet{many: base})
	}
	for i, option := range options {
		if option == nil {
			return batch{}, invalid(fieldError(fmt.Sprintf("options[%d]", i), "is nil"))
		}
		option(&o)
	}
	if problem := cmp.Or(o.problems.deliverAt, o.problems.dedupKey); problem != nil {
		return batch{}, invalid(problem)
	}
	attributes, err := encodeAttributes(o.attributes...)
	if err != nil {
		return batch{}, err
	}
	b := batch{topic: topic, attributes: attributes, deliverAt: o.deliverAt}
	if o.identity.wanted() {
		o.identity.attributes = o.attributes
		if key := o.identity.dedupKey; key != "" {
			o.identity.derived = derive(topic, key)
		}
		b.identity = &o.identity
	}
	return b, nil
}

// checkSize checks a payload together with its attributes and topic.
func (b *batch) checkSize(field string, encoded, attributes []byte) error {
	if size := len(encoded) + len(attributes) + len(b.topic); size > maxMessageBytes {
		return invalid(fieldError(field, "is too large: %d bytes with its attributes, and the most is %d", size, maxMessageBytes))
	}
	return nil
}

// add encodes and checks a payload and makes it part of the batch.
func (b *batch) add(field string, payload any) error {
	encoded, err := encodePayload(field, payload)
	if err != nil {
		return err
	}
	id, attributes, err := b.identity.next(b)
	if err != nil {
		return err
	}
	if err := b.checkSize(field, encoded, attributes); err != nil {
		return err
	}
	b.payloads = append(b.payloads, encoded)
	if b.identity != nil {
		b.ids = append(b.ids, id)
		b.each = append(b.each, attributes)
	}
	return nil
}
