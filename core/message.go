package core

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// batch is messages that may share one request: they have the topic, the
// attributes and the time of delivery in common.
type batch struct {
	topic      string
	attributes []byte    // JSON object of strings
	deliverAt  time.Time // zero: as soon as possible
	payloads   [][]byte  // JSON objects
	// bulk is the body of a bulk request with all the payloads, if it is at
	// hand, and readers counts who may still read it, if somebody asks.
	bulk    []byte
	readers *atomic.Int32
}

// scheduled tells whether the server is to hold the messages back.
func (b batch) scheduled() bool {
	return !b.deliverAt.IsZero() && b.deliverAt.After(time.Now())
}

// records makes the outbox's form of the payloads.
func (b batch) records() ([]outbox.Record, error) {
	records := make([]outbox.Record, len(b.payloads))
	for i, payload := range b.payloads {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("making a message id: %w", err)
		}
		records[i] = outbox.Record{
			ID: id.String(), Topic: b.topic, Payload: payload, Attributes: b.attributes, DeliverAt: b.deliverAt,
		}
	}
	return records, nil
}

// failedRecords makes the outbox's form of the payloads with the given
// indexes, which failed as errs tells.
func (b batch) failedRecords(indexes []int, errs []*failure) ([]outbox.Record, error) {
	failed := b
	failed.payloads = make([][]byte, len(indexes))
	for i, index := range indexes {
		failed.payloads[i] = b.payloads[index]
	}
	records, err := failed.records()
	for i := range records {
		f := errs[indexes[i]]
		records[i].LastError = f.Error()
		if f.class == permanent {
			records[i].State = outbox.Dead
		}
	}
	return records, err
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
	attributes []map[string]any
	deliverAt  time.Time
	problem    *FieldError
}

// WithAttributes adds attributes to the message. Values are cast to strings:
// strings as they are, numbers and booleans plainly, times as RFC 3339,
// others by [encoding.TextMarshaler] or [fmt.Stringer]. A later attribute
// replaces an earlier one of the same name.
func WithAttributes(attributes map[string]any) PublishOption {
	return func(o *publishOptions) { o.attributes = append(o.attributes, attributes) }
}

// WithAttribute adds one attribute to the message, as WithAttributes does.
func WithAttribute(name string, value any) PublishOption {
	return WithAttributes(map[string]any{name: value})
}

// DeliverAt has the server hold the message back until t, to the
// microsecond. A time that has passed means at once. The zero time and years
// after 9999, which the server cannot read, are refused with
// ErrInvalidMessage. A message that waits in the outbox keeps its time.
//
// The server has no bulk request for scheduled messages: with PublishBulk
// each payload costs a request.
func DeliverAt(t time.Time) PublishOption {
	return func(o *publishOptions) {
		o.deliverAt = t
		switch {
		case t.IsZero():
			o.problem = fieldError("DeliverAt", "is the zero time")
		case t.UTC().Year() > 9999:
			o.problem = fieldError("DeliverAt", "is after the year 9999")
		default:
			o.problem = nil
		}
	}
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
	o.attributes = append(make([]map[string]any, 0, len(options)+1), base)
	for _, option := range options {
		option(&o)
	}
	if o.problem != nil {
		return batch{}, invalid(o.problem)
	}
	attributes, err := encodeAttributes(o.attributes...)
	if err != nil {
		return batch{}, err
	}
	return batch{topic: topic, attributes: attributes, deliverAt: o.deliverAt}, nil
}

// checkSize checks a payload together with what all payloads share.
func (b *batch) checkSize(field string, encoded []byte) error {
	if size := len(encoded) + len(b.attributes) + len(b.topic); size > maxMessageBytes {
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
	if err := b.checkSize(field, encoded); err != nil {
		return err
	}
	b.payloads = append(b.payloads, encoded)
	return nil
}
