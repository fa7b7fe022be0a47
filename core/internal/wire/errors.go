package wire

import (
	"encoding/json"
	"fmt"
	"slices"
)

// DetailKey is the key under which ParseErrors files a reason that the
// server did not give for a field.
const DetailKey = "detail"

// ParseErrors reads the reasons out of an error answer's body. The server
// uses three shapes:
//
//	{"data":{"errors":{"FIELD":["reason"]}}}
//	{"data":{"errors":"reason"}}
//	{"errors":{"detail":"reason"}}
//
// A body of another shape, such as a proxy's page, gives nil.
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
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		fields = map[string]any{DetailKey: value}
	}
	reasons := make(map[string][]string, len(fields))
	for field, value := range fields {
		if texts := textsOf(value); len(texts) > 0 {
			reasons[field] = texts
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return reasons
}

// textsOf flattens what stands under a field into texts.
func textsOf(value any) []string {
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		if value == "" {
			return nil
		}
		return []string{value}
	case []any:
		var texts []string
		for _, item := range value {
			texts = append(texts, textsOf(item)...)
		}
		return slices.Clip(texts)
	default:
		return []string{fmt.Sprint(value)}
	}
}
