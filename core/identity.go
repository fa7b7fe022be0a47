package core

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MessageIDAttribute is the name of the attribute that WithMessageID adds.
const MessageIDAttribute = "message_id"

// maxDedupKey is how many bytes a deduplication key may have.
const maxDedupKey = 1024

// dedupSpace is the name space (RFC 9562, section 5.5) of ids that are made
// of topics and deduplication keys. They are Record.DedupKey in the outbox.
var dedupSpace = uuid.MustParse("c3cbe718-2c69-494e-888e-c1a18f5f69e5")

// WithMessageID gives the message an id and adds it as its attribute
// "message_id": a UUIDv7 (RFC 9562), the same on every retry, in the outbox,
// and in what the server recovers. Consumers can tell by it that they have
// seen a message before. An attribute of this name is replaced. The ids of
// the call are in Receipt.IDs, also of messages that are delivered at once.
// WithDedupKey makes the attribute of the key instead.
//
// Messages share a request only if all their attributes are equal, so one
// with an id of its own always costs a request of its own: PublishBulk and
// the modes that post after the response send each alone. Where a consumer
// can tell messages apart by what the payload holds, such as the number of
// an order, that is cheaper.
func WithMessageID() PublishOption {
	return func(o *publishOptions) { o.identity.attribute = true }
}

// WithDedupKey has the outbox hold only one message of a topic with the key:
// while one waits there, or is dead there, publishing another is accepted
// and has no effect. The key is any text of 1 to 1024 bytes, such as
// "order 4711 paid".
//
// The message is committed to the outbox within the call, in every mode,
// and delivered from there; the state of its Receipt is Stored, and its id
// that of the message in the outbox that holds the key, whichever call stored
// it. It needs Config.Outbox. A delivered message leaves the outbox, and its
// key may be used again from then on.
//
// With WithMessageID the attribute "message_id" is made of topic and key (a
// UUIDv5), so all messages of a key have the same, and consumers can tell that
// they have had one. The id in the outbox is another, which is never used
// again.
//
// PublishBulk refuses the option, as its messages would be one. That, a bad
// key and a client without an outbox are ErrInvalidMessage.
func WithDedupKey(key string) PublishOption {
	return func(o *publishOptions) {
		o.identity.dedupKey = key
		o.problems.dedupKey = nil
		problem := ""
		switch {
		case key == "":
			problem = "is empty"
		case len(key) > maxDedupKey:
			problem = fmt.Sprintf("has %d bytes; the most is %d", len(key), maxDedupKey)
		case !utf8.ValidString(key):
			problem = "is not valid UTF-8"
		}
		if problem != "" {
			o.problems.dedupKey = fieldError("WithDedupKey", "%s", problem)
		}
	}
}

// identity says how messages get ids of their own.
type identity struct {
	attribute  bool           // an id is to be an attribute
	dedupKey   string         // that attribute is to be made of it
	derived    string         // the id that is made of topic and dedupKey
	attributes []attributeSet // what else the attributes are
}

func (i *identity) wanted() bool { return i.attribute || i.dedupKey != "" }

// deduplicated tells whether the messages of a batch are admitted by key.
func (b batch) deduplicated() bool { return b.identity != nil && b.identity.dedupKey != "" }

// next makes the id and the attributes of the next message of a batch.
func (i *identity) next(b *batch) (id string, attributes []byte, err error) {
	if i == nil {
		return "", b.attributes, nil
	}
	if id, err = newID(); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrNotAccepted, err)
	}
	if !i.attribute {
		return id, b.attributes, nil
	}
	value := cmp.Or(i.derived, id)
	sets := append(slices.Clone(i.attributes), attributeSet{single: true, name: MessageIDAttribute, value: value})
	attributes, err = encodeAttributes(sets...)
	return id, attributes, err
}

// derive makes the id of a topic's deduplication key.
func derive(topic, dedupKey string) string {
	return uuid.NewSHA1(dedupSpace, []byte(topic+"\x00"+dedupKey)).String()
}

// newID makes the id of a message.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making a message id: %w", err)
	}
	return id.String(), nil
}
