package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// DecodeError says why a message could not be decoded. Its text contains no values
// of the message; the wrapped error may.
type DecodeError struct {
	// Field is the path of the invalid field, such as "payload.customer.id" or
	// "attributes"; "body" for the whole body.
	Field string
	// Reason is the problem of the field.
	Reason string

	cause error
	// unknown means that T does not have the field.
	unknown bool
}

// Error returns the field and the reason.
func (e *DecodeError) Error() string { return "delivery: " + e.Field + " " + e.Reason }

// Unwrap returns the error of encoding/json or of the payload's own UnmarshalJSON,
// if any.
func (e *DecodeError) Unwrap() error { return e.cause }

// decodeError describes an error of encoding/json without values.
func decodeError(field string, err error) *DecodeError {
	const unknown = "json: unknown field "
	e := &DecodeError{Field: field, cause: err}
	wrongType, isType := errors.AsType[*json.UnmarshalTypeError](err)
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case isType:
		if wrongType.Field != "" {
			e.Field += "." + wrongType.Field
		}
		kind, _, _ := strings.Cut(wrongType.Value, " ") // "number 12" contains the value
		e.Reason = fmt.Sprintf("is %s, which does not fit %v", kind, wrongType.Type)
	case isSyntax:
		e.Reason = fmt.Sprintf("is not valid JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "is not valid JSON: it ends too early"
	case strings.HasPrefix(err.Error(), unknown):
		e.unknown = true
		e.Reason = fmt.Sprintf("has an unexpected field: %.100s", strings.TrimPrefix(err.Error(), unknown))
	default:
		e.Reason = fmt.Sprintf("is rejected by its type (%T)", err)
	}
	return e
}

// parts are the parts of the object that the server delivers.
type parts struct {
	payload    []byte // the object without attributes and metadata
	attributes json.RawMessage
	metadata   map[string]string
}

// split removes the members "attributes" and, unless keepMetadata is set,
// "_postoffice" from the object that the server delivers. Of several "_postoffice",
// the first counts: if it is not an object of strings, the key is the publisher's
// own and stays.
func split(body []byte, keepMetadata bool) (parts, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	first, err := decoder.Token()
	if err != nil {
		return parts{}, decodeError("body", err)
	}
	if first != json.Delim('{') {
		return parts{}, &DecodeError{Field: "body", Reason: "is not a JSON object"}
	}
	p := parts{payload: append(make([]byte, 0, len(body)), '{')}
	for decoder.More() {
		start := decoder.InputOffset() // a comma and spaces may follow
		key, err := decoder.Token()
		if err != nil {
			return parts{}, decodeError("body", err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return parts{}, decodeError("body", err)
		}
		switch {
		case key == wire.AttributesKey:
			p.attributes = value
			continue
		case key == wire.MetadataKey && !keepMetadata:
			if p.metadata == nil {
				p.metadata, _ = metadata.Parse(value)
			}
			if p.metadata != nil {
				continue
			}
			keepMetadata = true // the publisher's own
		}
		if len(p.payload) > 1 {
			p.payload = append(p.payload, ',')
		}
		member := body[start:decoder.InputOffset()]
		p.payload = append(p.payload, member[bytes.IndexByte(member, '"'):]...)
	}
	if _, err := decoder.Token(); err != nil {
		return parts{}, decodeError("body", err)
	}
	if len(bytes.TrimSpace(body[decoder.InputOffset():])) > 0 {
		return parts{}, &DecodeError{Field: "body", Reason: "continues after its JSON object"}
	}
	p.payload = append(p.payload, '}')
	return p, nil
}

// merge reads the attributes, which may be missing or null, and adds the metadata.
// An attribute takes precedence over metadata of the same name.
func (p *parts) merge() (map[string]string, error) {
	attributes := p.metadata
	if attributes == nil {
		attributes = map[string]string{}
	}
	if len(p.attributes) == 0 {
		return attributes, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(p.attributes, &values); err != nil {
		return nil, decodeError(wire.AttributesKey, err)
	}
	for name, value := range values {
		var text string
		if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		attributes[name] = text
	}
	return attributes, nil
}

// decodePayload decodes a payload into the value that a pointer points to. Numbers in
// values of type any stay text, because a float64 would silently change integers above
// 2^53.
func decodePayload(payload []byte, into any, strict bool) error {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		return decodeError("payload", err)
	}
	return nil
}
