package core

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// MessageIDAttribute is the name of the attribute that WithMessageID adds.
const MessageIDAttribute = "message_id"

// MetadataKey is the key of a payload that holds its metadata, an object of
// strings. It is reserved: a payload that has the key itself is refused.
const MetadataKey = wire.MetadataKey

// draft holds the messages of a call until they are checked and encoded.
type draft struct {
	message.Batch
	// messageID adds an attribute with the ID to each message, besides the
	// attributes of the call.
	messageID  bool
	attributes []message.AttributeSet
}

// newDraft checks the parts that all payloads of a call share.
func newDraft(topic string, base map[string]any, options []PublishOption) (draft, error) {
	if problem := message.CheckTopic("topic", topic); problem != nil {
		return draft{}, invalidMessage(problem)
	}
	d := draft{Batch: message.Batch{Topic: topic, Attributes: message.NoAttributes}}
	if len(options) == 0 && len(base) == 0 {
		return d, nil
	}
	var o publishOptions // on the heap, because the options take its address
	o.attributes = o.room[:0]
	if len(base) > 0 {
		o.attributes = append(o.attributes, message.AttributeSet{Many: base})
	}
	for i, option := range options {
		if option == nil {
			return draft{}, invalid(fieldError(fmt.Sprintf("options[%d]", i), "is nil"))
		}
		if err := option(&o); err != nil {
			return draft{}, invalid(err)
		}
	}
	attributes, problem := message.EncodeAttributes(o.attributes...)
	if problem != nil {
		return draft{}, invalidMessage(problem)
	}
	d.Attributes, d.DeliverAt, d.messageID, d.attributes = attributes, o.deliverAt, o.messageID, o.attributes
	if o.dedupKey != "" {
		d.DedupKey = message.KeyID(topic, o.dedupKey)
	}
	return d, nil
}

// identified reports whether the messages have IDs before they are stored.
func (d *draft) identified() bool { return d.messageID || d.DedupKey != "" }

// add checks and encodes a payload and adds it as a message.
func (d *draft) add(e *encoder, path string, payload any) error {
	encoded, problem := e.Encode(path, payload)
	if problem != nil {
		return invalidMessage(problem)
	}
	m := message.Message{Payload: bytes.Clone(encoded)}
	if d.identified() {
		var err error
		if m.ID, err = message.NewID(); err != nil {
			return fmt.Errorf("%w: %w", ErrNotAccepted, err)
		}
	}
	size := d.Attributes
	if d.messageID {
		value := m.ID
		if d.DedupKey != "" {
			value = d.DedupKey
		}
		sets := append(slices.Clone(d.attributes), message.AttributeSet{Single: true, Name: MessageIDAttribute, Value: value})
		if m.Attributes, problem = message.EncodeAttributes(sets...); problem != nil {
			return invalidMessage(problem)
		}
		size = m.Attributes
	}
	if problem := message.CheckSize(path, d.Topic, encoded, size); problem != nil {
		return invalidMessage(problem)
	}
	d.Messages = append(d.Messages, m)
	return nil
}

// addAll adds the payloads of a bulk call.
func (d *draft) addAll(e *encoder, payloads []any) error {
	if d.DedupKey != "" {
		return invalid(fieldError("WithDedupKey", "names one message, and PublishBulk makes many; use Publish for each"))
	}
	d.Messages = make([]message.Message, 0, len(payloads))
	for i, payload := range payloads {
		if err := d.add(e, fmt.Sprintf("payload[%d]", i), payload); err != nil {
			return err
		}
	}
	return nil
}

// invalid wraps a field's error in ErrInvalidMessage.
func invalid(err error) error {
	return fmt.Errorf("%w: %w", ErrInvalidMessage, err)
}

// invalidMessage returns the error for a problem of a message.
func invalidMessage(problem *message.Problem) error { return invalid(fieldOf(problem)) }

// fieldOf returns the FieldError of a problem, nil for nil.
func fieldOf(problem *message.Problem) *FieldError {
	if problem == nil {
		return nil
	}
	return &FieldError{Field: problem.Path, Problem: problem.Text, Err: problem.Cause}
}
