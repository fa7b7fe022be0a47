package core

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// MessageIDAttribute is the name of the attribute that WithMessageID adds.
const MessageIDAttribute = message.IDName

// MetadataKey is the reserved key of a payload that holds its metadata, an
// object of strings; see Config.MetadataInPayload. A payload that already has
// the key is refused.
const MetadataKey = wire.MetadataKey

// payloadField is the name of the payload in a FieldError.
const payloadField = "payload"

// draft holds the messages of a call until they are checked and encoded.
type draft struct {
	message.Batch
	// messageID adds the ID to each message.
	messageID bool
	// attributes are the attributes of each message, without its ID. metadata
	// travels in each payload and is valid until the encoder is released.
	attributes, metadata message.Object
}

// begin checks and encodes the parts that all payloads of a call share.
func (e *encoder) begin(k *call) (draft, error) {
	if k.topic == "" || k.topic != e.topic {
		if problem := message.CheckTopic("topic", k.topic); problem != nil {
			return draft{}, invalidMessage(problem)
		}
		e.topic = k.topic
	}
	d := draft{Batch: message.Batch{Topic: k.topic, Attributes: message.NoAttributes}}
	base := k.publisher.base()
	if base == nil && len(k.options) == 0 {
		return d, nil
	}
	o := &e.options
	for i, option := range k.options {
		if option == nil {
			return draft{}, invalid(fieldError(fmt.Sprintf("options[%d]", i), "is nil"))
		}
		if err := option(o); err != nil {
			return draft{}, invalid(err)
		}
	}
	var problem *message.Problem
	if d.attributes, d.metadata, problem = e.EncodeObjects(base, o.attributes, o.messageID); problem != nil {
		return draft{}, invalidMessage(problem)
	}
	d.Attributes, d.DeliverAt, d.messageID = d.attributes.Text, o.deliverAt, o.messageID
	if o.dedupKey != "" {
		d.DedupKey = message.KeyID(k.topic, o.dedupKey)
	}
	return d, nil
}

// identified reports whether the messages have IDs before they are stored.
func (d *draft) identified() bool { return d.messageID || d.DedupKey != "" }

// encode checks and encodes a payload. The text is valid until the encoder is
// used again. shown is the ID that consumers see; empty for none.
func (d *draft) encode(e *encoder, payload any) (encoded []byte, id, shown string, err error) {
	if d.identified() {
		if id, err = message.NewID(); err != nil {
			return nil, "", "", fmt.Errorf("%w: %w", ErrNotAccepted, err)
		}
	}
	inPayload := ""
	if d.messageID {
		shown = id
		if d.DedupKey != "" {
			shown = d.DedupKey
		}
		if e.PutsMetadataInPayload() {
			inPayload = shown
		}
	}
	encoded, problem := e.Encode(payloadField, payload, d.metadata, inPayload)
	if problem != nil {
		return nil, "", "", invalidMessage(problem)
	}
	return encoded, id, shown, nil
}

// add checks and encodes a payload and adds it as a message.
func (d *draft) add(e *encoder, payload any) error {
	encoded, id, shown, err := d.encode(e, payload)
	if err != nil {
		return err
	}
	m := message.Message{ID: id}
	size := d.Attributes
	if shown != "" && !e.PutsMetadataInPayload() {
		m.Attributes = d.attributes.AppendWithID(nil, shown)
		size = m.Attributes
	}
	if problem := message.CheckSize(payloadField, d.Topic, encoded, size); problem != nil {
		return invalidMessage(problem)
	}
	m.Payload = bytes.Clone(encoded)
	d.Messages = append(d.Messages, m)
	return nil
}

// addAll adds the payloads of a bulk call.
func (d *draft) addAll(e *encoder, payloads []any) error {
	if d.DedupKey != "" {
		return invalid(fieldError("WithDedupKey", "identifies one message, so PublishBulk does not support it; use Publish for each"))
	}
	d.Messages = make([]message.Message, 0, len(payloads))
	for i, payload := range payloads {
		if err := d.add(e, payload); err != nil {
			if fault, ok := errors.AsType[*FieldError](err); ok {
				if within, ok := strings.CutPrefix(fault.Field, payloadField); ok {
					fault.Field = fmt.Sprintf("%s[%d]%s", payloadField, i, within)
				}
			}
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
