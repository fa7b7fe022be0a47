package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// DetailKey is the key of reasons without a field in the result of ParseErrors.
const DetailKey = "detail"

// Bounds of the result of ParseErrors, because reasons are logged and stored in
// the outbox, and a proxy may send anything, even the content of the request.
const (
	maxFields  = 10
	maxReasons = 5   // per field
	maxText    = 200 // in bytes
)

// ParseErrors parses the reasons in the body of an error response. The server
// uses three shapes:
//
//	{"data":{"errors":{"FIELD":["reason"]}}}
//	{"data":{"errors":"reason"}}
//	{"errors":{"detail":"reason"}}
//
// The result has only a few reasons, truncated to 200 bytes each. It is nil for
// a body of another shape, such as a proxy's error page.
func ParseErrors(body []byte) map[string][]string {
	var envelope, data struct {
		Data   json.RawMessage `json:"data"`
		Errors json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return nil
	}
	raw := envelope.Errors
	if json.Unmarshal(envelope.Data, &data) == nil && len(data.Errors) > 0 && string(data.Errors) != "null" {
		raw = data.Errors
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // keeps a number as it was written
	if decoder.Decode(&value) != nil {
		return nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		fields = map[string]any{DetailKey: value}
	}
	reasons := make(map[string][]string, min(len(fields), maxFields))
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if texts := textsOf(fields[field]); len(texts) > 0 && len(reasons) < maxFields {
			reasons[short(field)] = texts[:min(len(texts), maxReasons)]
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return reasons
}

// textsOf flattens the value of a field into texts.
func textsOf(value any) []string {
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		if value == "" {
			return nil
		}
		return []string{short(value)}
	case []any:
		var texts []string
		for _, item := range value {
			texts = append(texts, textsOf(item)...)
		}
		return slices.Clip(texts)
	default:
		return []string{short(fmt.Sprint(value))}
	}
}

// short truncates a text that is too long for a reason, between characters.
func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
