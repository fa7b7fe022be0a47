package core

import (
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// PublishOption changes how a message is published. With an invalid option the
// call returns ErrInvalidMessage.
type PublishOption func(*publishOptions) error

type publishOptions struct {
	attributes []message.AttributeSet
	deliverAt  time.Time
	messageID  bool
	dedupKey   string
}

// maxKeptOptions is the maximum capacity for attributes that is reused.
const maxKeptOptions = 64

// reset prepares the options for another call, which reuses the memory for
// attributes.
func (o *publishOptions) reset() {
	if cap(o.attributes) > maxKeptOptions {
		o.attributes = nil
	}
	clear(o.attributes)
	*o = publishOptions{attributes: o.attributes[:0]}
}

// WithAttributes adds attributes to the message. Values are converted to
// strings: strings are unchanged, booleans become true or false, numbers have
// no exponent, times are RFC 3339, and durations have the form "1.5s". Other
// values use [encoding.TextMarshaler], [fmt.Stringer] or error. The call
// returns ErrInvalidMessage for nil, []byte, NaN, a value without a text form,
// an empty name, a NUL and invalid UTF-8. A later attribute replaces an earlier
// one with the same name.
func WithAttributes(attributes map[string]any) PublishOption {
	return func(o *publishOptions) error {
		o.attributes = append(o.attributes, message.AttributeSet{Many: attributes})
		return nil
	}
}

// WithAttribute adds one attribute to the message, as WithAttributes does.
func WithAttribute(name string, value any) PublishOption {
	return func(o *publishOptions) error {
		o.attributes = append(o.attributes, message.AttributeSet{Single: true, Name: name, Value: value})
		return nil
	}
}

// WithMetadata adds an entry to the message's metadata. The value is converted
// as by WithAttribute. With Config.MetadataInPayload, metadata travels in the
// payload, so messages with different metadata can share a request. Without it,
// WithMetadata is the same as WithAttribute. In both cases, consumers that use
// this module find the entry among the attributes of the message.
//
// A later entry replaces an earlier one with the same name. With
// Config.MetadataInPayload, an attribute of the call replaces metadata with the
// same name, in whichever order the options are.
func WithMetadata(name string, value any) PublishOption {
	return func(o *publishOptions) error {
		o.attributes = append(o.attributes, message.AttributeSet{Single: true, Name: name, Value: value, Metadata: true})
		return nil
	}
}

// DeliverAt makes the server hold the message back until t, rounded up to the
// microsecond. A time in the past means at once. The zero time and years after
// 9999, which the server cannot parse, cause ErrInvalidMessage. A message in
// the outbox keeps its time.
//
// The server has no bulk request for scheduled messages: PublishBulk sends each
// payload in a separate request.
func DeliverAt(t time.Time) PublishOption {
	return func(o *publishOptions) (err error) {
		o.deliverAt, err = deliveryTime(t)
		return err
	}
}

// deliveryTime returns the time in the precision of the server and the outbox:
// zero for a time in the past, otherwise rounded up to the microsecond, so that
// consumers do not receive the message early.
func deliveryTime(t time.Time) (time.Time, error) {
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

// DeliverIn is DeliverAt with the time d after the call to Publish. Zero and
// negative durations mean at once.
func DeliverIn(d time.Duration) PublishOption {
	return func(o *publishOptions) error { return DeliverAt(time.Now().Add(d))(o) }
}

// maxDedupKey is the maximum size of a deduplication key in bytes.
const maxDedupKey = 1024

// WithMessageID gives the message an id and adds it as the attribute
// "message_id", or to its metadata with Config.MetadataInPayload. The id is a
// UUIDv7 (RFC 9562) and stays the same on every retry, in the outbox and on
// recovery by the server, so consumers can detect duplicates by it. It replaces
// an attribute and metadata of the same name. Receipt.IDs has the ids of the
// call, also for messages that are delivered at once. With WithDedupKey, the
// attribute is derived from the key instead.
//
// Messages share a request only if all their attributes are equal. Without
// Config.MetadataInPayload, a message with an id therefore needs a separate
// request, also in PublishBulk and in the modes that post after the response.
// If the payload already identifies the message, for example by an order
// number, using that is cheaper.
func WithMessageID() PublishOption {
	return func(o *publishOptions) error {
		o.messageID = true
		return nil
	}
}

// WithDedupKey makes the outbox hold only one message of a topic with the key.
// While a pending or dead message with the key is in the outbox, publishing
// another one succeeds and has no effect. The key is any text of 1 to 1024
// bytes, such as "order 4711 paid".
//
// In every mode, the message is committed to the outbox within the call and
// delivered from there. The Receipt has the state Stored and the id of the
// message in the outbox that has the key, even if another call stored it. The
// option requires Config.Outbox. A delivered message leaves the outbox, and its
// key may be used again.
//
// With WithMessageID, the attribute "message_id" is a UUIDv5 derived from topic
// and key. All messages with the same key have the same value, so consumers can
// detect duplicates. The id in the outbox is different and is never reused.
//
// PublishBulk does not support the option, because all its messages would have
// the same key. The call returns ErrInvalidMessage with PublishBulk, for an
// invalid key and without an outbox.
func WithDedupKey(key string) PublishOption {
	return func(o *publishOptions) error {
		o.dedupKey = key
		switch {
		case key == "":
			return fieldError("WithDedupKey", "is empty")
		case len(key) > maxDedupKey:
			return fieldError("WithDedupKey", "has %d bytes; the maximum is %d", len(key), maxDedupKey)
		case !utf8.ValidString(key):
			return fieldError("WithDedupKey", "is not valid UTF-8")
		}
		return nil
	}
}

// Payloads converts a slice of any type to the argument of PublishBulk.
func Payloads[T any](items []T) []any {
	payloads := make([]any, len(items))
	for i, item := range items {
		payloads[i] = item
	}
	return payloads
}
