// Package metadata reads the metadata that a publisher of this module puts into
// a payload under [wire.MetadataKey].
package metadata

import (
	"bytes"
	"encoding/json"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Parse parses the value of the key. It returns false if the value is not an
// object of strings, which means that it is not metadata of this module. If a
// name occurs twice, the first value counts.
func Parse(value []byte) (map[string]string, bool) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil, false
	}
	metadata := map[string]string{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, false
		}
		value, err := decoder.Token()
		text, ok := value.(string)
		if err != nil || !ok {
			return nil, false
		}
		if _, exists := metadata[name.(string)]; !exists {
			metadata[name.(string)] = text
		}
	}
	_, err := decoder.Token()
	return metadata, err == nil
}

// Cut splits a payload into its metadata and the rest. The payload may be
// truncated. If there is no metadata, or it is truncated, Cut returns the
// unchanged payload and nil. If the key occurs twice, Cut removes the first.
func Cut(payload []byte) (rest, metadata []byte) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return payload, nil
	}
	for decoder.More() {
		start := decoder.InputOffset() // the end of the previous member or of the brace
		key, err := decoder.Token()
		if err != nil {
			return payload, nil
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return payload, nil
		}
		if key != wire.MetadataKey {
			continue
		}
		if _, ok := Parse(value); !ok {
			return payload, nil
		}
		return without(payload, start, decoder.InputOffset()), value
	}
	return payload, nil
}

// blanks is the white space of JSON.
const blanks = " \t\r\n"

// without returns an object without the member between two offsets and one of
// the commas around it.
func without(object []byte, start, end int64) []byte {
	before, after := object[:start], object[end:]
	if bytes.HasSuffix(bytes.TrimRight(before, blanks), []byte("{")) { // the comma follows the first member
		after = bytes.TrimPrefix(bytes.TrimLeft(after, blanks), []byte(","))
	}
	return append(bytes.Clone(before), after...)
}
