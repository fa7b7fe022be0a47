package message

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// MaxBytes is the limit for the payload, attributes and topic of a message
// together. It is below the server's limit for a request body, which contains
// more than these.
const MaxBytes = 7_000_000

// maxIntegerDigits is the limit for the digits of an integer, and of the
// integer part of another number. The server's work grows with the square of
// the digits: 5,000 digits take 9 ms and 50,000 take a second, and it refuses
// more than 131,072.
const maxIntegerDigits = 5000

// maxPayloadDepth is the limit for nested objects and lists. JSON parsers have
// their own limits, such as 10,000 in encoding/json; no message needs that
// much.
const maxPayloadDepth = 1000

const wantObject = "it must encode to a JSON object, such as a map or a struct"

// Encoder encodes payloads as JSON, each once, and checks that the server
// accepts them and passes them on unchanged. It reuses its setup and its
// buffer. It is not safe for concurrent use.
//
// The encoding is that of Marshal, or of encoding/json without HTML escaping:
// time.Time becomes RFC 3339 text, time.Duration a number of nanoseconds,
// []byte base64 text, and big.Int a number; decimal types use their own
// MarshalJSON or MarshalText, and json.RawMessage is unchanged. The server
// keeps integers exactly and converts other numbers to doubles, so exact
// decimals must be strings. If raw JSON has a duplicate key, the server keeps
// the first. It overwrites a payload's key "attributes".
type Encoder struct {
	json   *json.Encoder
	buffer []byte
	size   int
	// marshal is the encoder of the app; nil for encoding/json.
	marshal func(any) ([]byte, error)
	// metadataInPayload puts metadata into payloads.
	metadataInPayload bool
	// lastType is the type of the last payload, and plain is the result of
	// isPlain for it. Both are cached, because consecutive messages usually
	// have the same type.
	lastType reflect.Type
	plain    bool
	// Buffers of EncodeObjects.
	members              []member
	attributes, metadata []byte
	recent               recent
	repeat               repeat
}

// maxKeptBuffer is the maximum size of a buffer that is reused.
const maxKeptBuffer = 64 << 10

// maxKeptMembers is the maximum capacity of a list of members that is reused.
const maxKeptMembers = 256

// NewEncoder returns an encoder. It encodes payloads with marshal, or with
// encoding/json if marshal is nil. With metadataInPayload, metadata travels in
// the payload, otherwise among the attributes.
func NewEncoder(marshal func(any) ([]byte, error), metadataInPayload bool) *Encoder {
	encoder := &Encoder{marshal: marshal, metadataInPayload: metadataInPayload}
	encoder.json = json.NewEncoder(encoder)
	encoder.json.SetEscapeHTML(false)
	return encoder
}

// PutsMetadataInPayload reports whether metadata travels in the payload.
func (e *Encoder) PutsMetadataInPayload() bool { return e.metadataInPayload }

// Reset releases large buffers. The encoder's results must not be used
// afterwards.
func (e *Encoder) Reset() {
	if cap(e.buffer) > maxKeptBuffer {
		e.buffer = nil
	}
	if cap(e.members) > maxKeptMembers || cap(e.attributes)+cap(e.metadata) > maxKeptBuffer {
		e.members, e.attributes, e.metadata = nil, nil, nil
		e.repeat.valid = false
	}
}

// Write collects the encoded text up to its maximum size.
func (e *Encoder) Write(text []byte) (int, error) {
	e.size += len(text)
	if e.size <= MaxBytes+len("\n") {
		e.buffer = append(e.buffer, text...)
	}
	return len(text), nil
}

// Encode encodes and checks a payload. If there is metadata or an ID, the text
// begins with both as the value of the reserved key. The ID may be empty.
//
// The path names the payload in the problem. A problem contains types and paths
// within the payload, never its values. The result is valid until the next
// Encode or Reset.
func (e *Encoder) Encode(path string, payload any, metadata Object, id string) ([]byte, *Problem) {
	switch payload := payload.(type) {
	case nil:
		return nil, problemAt(path, "is nil; %s", wantObject)
	case []byte:
		return nil, problemAt(path, "is []byte, which encodes to base64 text; pass json.RawMessage for encoded JSON")
	case string:
		if strings.HasPrefix(strings.TrimSpace(payload), "{") {
			return nil, problemAt(path, "is a string of JSON; pass json.RawMessage for encoded JSON")
		}
		return nil, problemAt(path, "is a string; %s", wantObject)
	}
	e.begin(metadata, id)
	start := len(e.buffer)
	problem := e.encode(path, payload)
	if problem == nil {
		problem = e.check(path, payload, e.buffer[start:])
	}
	if problem != nil {
		return nil, problem
	}
	return e.joined(start), nil
}

// begin begins the text with the metadata.
func (e *Encoder) begin(metadata Object, id string) {
	e.buffer = e.buffer[:0]
	if id == "" && metadata.isEmpty() {
		return
	}
	e.buffer = append(e.buffer, `{"`+wire.MetadataKey+`":`...)
	switch {
	case id == "":
		e.buffer = append(e.buffer, metadata.Text...)
	case metadata.isEmpty():
		e.buffer = noObject().AppendWithID(e.buffer, id)
	default:
		e.buffer = metadata.AppendWithID(e.buffer, id)
	}
}

// joined returns the text as one object; the payload begins at start.
func (e *Encoder) joined(start int) []byte {
	if start == 0 {
		return e.buffer
	}
	if rest := bytes.TrimLeft(e.buffer[start+len("{"):], " \t\r\n"); rest[0] == '}' {
		e.buffer = e.buffer[:start+len("}")]
		e.buffer[start] = '}'
		return e.buffer
	}
	e.buffer[start] = ','
	return e.buffer
}

// encode adds a payload to the text.
func (e *Encoder) encode(path string, payload any) *Problem {
	e.size = 0
	start := len(e.buffer)
	if e.marshal != nil {
		if problem := e.callMarshal(path, payload); problem != nil {
			return problem
		}
	} else {
		if err := e.json.Encode(payload); err != nil {
			return encodingProblem(path, payload, err)
		}
		e.size -= len("\n")
	}
	if e.size > MaxBytes {
		return problemAt(path, "is too large: %d bytes; the maximum is %d", e.size, MaxBytes)
	}
	e.buffer = e.buffer[:start+e.size]
	return nil
}

// check reports what the server would refuse or change in an encoded payload.
func (e *Encoder) check(path string, payload any, encoded []byte) *Problem {
	if len(encoded) == 0 || encoded[0] != '{' {
		if e.marshal != nil && len(encoded) > 0 && !json.Valid(encoded) {
			return malformed(path, payload, encoded)
		}
		return notObject(path, payload, encoded)
	}
	if len(encoded) == len("{}") && losesAll(payload) {
		return problemAt(path, "is %T and encodes to {}: none of its content would be sent", payload)
	}
	if e.marshal == nil && e.hasPlainType(payload) && isSound(encoded) {
		return nil
	}
	problem, offset, replaced := scanPayload(encoded)
	switch problem {
	case "":
	case problemSyntax:
		return malformed(path, payload, encoded)
	case problemReserved:
		return problemAt(path+pathKey(wire.MetadataKey), "%s", problem)
	default:
		return problemAt(path+pathAt(encoded, offset), "%s", problem)
	}
	if replaced {
		if place, found := findInvalidText(payload); found {
			return problemAt(path+place, "contains text that is not valid UTF-8")
		}
	}
	return nil
}
