package delivery

import "time"

// Message is a message that the server has delivered.
type Message[T any] struct {
	// ID is the server's id of the delivery, from the header message-id: it is the
	// same on every retry, different for each consumer, and new for a copy by a
	// publisher's retry or by recovery. Empty if the header was missing.
	ID string

	// Topic is the topic set by WithTopic or WithConsumer: the server does not send
	// it.
	Topic string

	// Attributes are the message's attributes, and the metadata of its payload
	// unless an attribute has the same name; never nil. Values that are not strings,
	// which this module does not publish, are in their JSON form.
	Attributes map[string]string

	// Payload is the payload without the key "attributes", under which the server
	// delivers the attributes: it overwrites a payload's own key of that name.
	// Metadata are removed, too, unless [WithoutMetadata] is set. Numbers in values
	// of type any are of type [encoding/json.Number], which keeps all digits; a
	// float64 would change integers above 2^53.
	Payload T

	// Received is when the request arrived.
	Received time.Time
}

// Undecodable is a message that could not be decoded.
type Undecodable struct {
	// ID and Topic are those of a [Message].
	ID, Topic string
	// Body is the received body, including attributes and metadata.
	Body []byte
	// Err is a *[DecodeError].
	Err error
	// Received is when the request arrived.
	Received time.Time
}
