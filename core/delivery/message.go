package delivery

import "time"

// Message is a message that the server has delivered.
type Message[T any] struct {
	// ID is the server's id of the delivery, from the header message-id: the
	// same on every retry, different for each consumer, and a new one for a
	// copy that came by a publisher's retry or by recovery. Empty if the
	// header was missing.
	ID string

	// Topic is what WithTopic or WithConsumer says; the server does not tell.
	Topic string

	// Attributes are the message's attributes, and the metadata of its payload
	// unless an attribute has the same name; never nil. Values that are not
	// strings, which this module does not publish, are in their JSON form.
	Attributes map[string]string

	// Payload is the payload without the key "attributes", under which the
	// server delivers the attributes: a payload's own key of that name was
	// overwritten by the server. It has no metadata either, unless
	// [WithoutMetadata] is set. Numbers in values of type any are of type
	// [encoding/json.Number], which keeps every digit; a float64 would change
	// integers over 2^53.
	Payload T

	// Received is when the request came.
	Received time.Time
}

// Undecodable is a message that could not be decoded.
type Undecodable struct {
	// ID and Topic are those of a [Message].
	ID, Topic string
	// Body is what was received, with the attributes and the metadata.
	Body []byte
	// Err is a *[DecodeError].
	Err error
	// Received is when the request came.
	Received time.Time
}
