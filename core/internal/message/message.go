// Package message defines the messages that travel from a publishing call to
// the server and to the outbox: batches, payloads and attributes, which are
// encoded and checked once. It knows neither requests nor queues nor stores.
package message

import "time"

// Message is one message of a batch.
type Message struct {
	// ID is the message's ID in the outbox and, if requested, in its attributes
	// or metadata. It is empty until it is needed.
	ID string
	// Payload is a JSON object.
	Payload []byte
	// Attributes are the message's own attributes, a JSON object of strings;
	// nil to use the attributes of the batch.
	Attributes []byte
}

// Batch holds messages of one topic with the same delivery time that travel
// together. Messages without attributes of their own can share a request.
type Batch struct {
	Topic string
	// Attributes is a JSON object of strings.
	Attributes []byte
	// DeliverAt is the earliest time of delivery by the server; zero for as
	// soon as possible.
	DeliverAt time.Time
	Messages  []Message
	// DedupKey is the deduplication key of the only message of the batch; empty
	// for none.
	DedupKey string
	// Body is the body of one request with all messages; nil if it is not built
	// yet. It is not valid for a subset of the messages, see Pick.
	Body Body
	// Origins are the observer's origins of messages that are sent after their
	// call.
	Origins []any
}

// Body is a request body, opaque to this package.
type Body interface {
	// Size returns the number of bytes.
	Size() int
}

// Scheduled reports whether the server must hold the messages back. It has no
// bulk request for scheduled messages.
func (b *Batch) Scheduled() bool { return !b.DeliverAt.IsZero() && b.DeliverAt.After(time.Now()) }

// AttributesOf returns the attributes of a message.
func (b *Batch) AttributesOf(index int) []byte {
	if own := b.Messages[index].Attributes; own != nil {
		return own
	}
	return b.Attributes
}

// Shares reports whether the messages can share a request with others, because
// they have no attributes of their own.
func (b *Batch) Shares() bool { return len(b.Messages) == 0 || b.Messages[0].Attributes == nil }

// PayloadBytes returns the bytes of all payloads.
func (b *Batch) PayloadBytes() int {
	sum := 0
	for i := range b.Messages {
		sum += len(b.Messages[i].Payload)
	}
	return sum
}

// Size returns the bytes of all messages, including topics and attributes. This
// is their size in an outbox.
func (b *Batch) Size() int {
	sum := 0
	for i := range b.Messages {
		sum += len(b.Topic) + len(b.Messages[i].Payload) + len(b.AttributesOf(i))
	}
	return sum
}

// Pick returns the batch with only the messages at the given indexes.
func (b *Batch) Pick(indexes []int) Batch {
	picked := *b
	picked.Body = nil
	picked.Messages = make([]Message, len(indexes))
	for i, index := range indexes {
		picked.Messages[i] = b.Messages[index]
	}
	return picked
}

// IDs returns the IDs of all messages.
func (b *Batch) IDs() []string {
	ids := make([]string, len(b.Messages))
	for i := range b.Messages {
		ids[i] = b.Messages[i].ID
	}
	return ids
}

// GiveIDs gives an ID to each message that has none.
func (b *Batch) GiveIDs() error {
	for i := range b.Messages {
		if b.Messages[i].ID != "" {
			continue
		}
		id, err := NewID()
		if err != nil {
			return err
		}
		b.Messages[i].ID = id
	}
	return nil
}

// CheckSize reports a payload that is too large together with its attributes
// and topic.
func CheckSize(path, topic string, payload, attributes []byte) *Problem {
	if size := len(payload) + len(attributes) + len(topic); size > MaxBytes {
		return problemAt(path, "is too large: %d bytes with its attributes; the maximum is %d", size, MaxBytes)
	}
	return nil
}

// maxOrigins bounds the number of origins of a batch.
const maxOrigins = 128

// AddOrigins adds the origins of a message.
func (b *Batch) AddOrigins(origins []any) {
	for _, origin := range origins {
		last := len(b.Origins) - 1
		if len(b.Origins) < maxOrigins && (last < 0 || b.Origins[last] != origin) {
			b.Origins = append(b.Origins, origin)
		}
	}
}
