package outbox_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

func TestStateString(t *testing.T) {
	assert.Equal(t, "pending", outbox.Pending.String())
	assert.Equal(t, "dead", outbox.Dead.String())
	assert.Equal(t, outbox.Pending, outbox.Record{}.State, "the zero record is pending")
}

func TestRecordSize(t *testing.T) {
	assert.Zero(t, outbox.Record{ID: "id", LastError: "timeout", LeaseToken: "token"}.Size(), "only what is published counts")
	record := outbox.Record{
		Topic:      "żółć",
		Payload:    json.RawMessage(`{"a":1}`),
		Attributes: json.RawMessage(`{"b":"2"}`),
	}
	assert.EqualValues(t, 8+7+9, record.Size(), "bytes, not characters")
	entry := outbox.Entry{Record: record, PayloadSize: 7, AttributesSize: 9}
	entry.Payload, entry.Attributes = entry.Payload[:2], nil
	assert.EqualValues(t, 8+7+9, entry.Size(), "that of the whole")
	assert.EqualValues(t, 8+2, entry.Record.Size(), "that of what it holds")
}

func TestValidationNamesTheField(t *testing.T) {
	whole := outbox.Record{ID: "1", Topic: "orders", Payload: json.RawMessage(" {}\n"), Attributes: json.RawMessage(`{"a":"b"}`)}
	cut, bare := whole, whole
	cut.Payload, bare.Attributes = json.RawMessage(`{`), nil
	for want, err := range map[string]error{
		"records[1].Payload is not a JSON object":    outbox.ValidateRecords(whole, cut),
		"records[0].Attributes is not a JSON object": outbox.ValidateRecords(bare),
		"Selection.Topic is set beside IDs":          outbox.Selection{IDs: []string{"a"}, Topic: "orders"}.Validate(),
		"Selection.All is set beside IDs":            outbox.Selection{IDs: []string{"a"}, All: true}.Validate(),
		"Selection.All is set beside Topic":          outbox.Selection{Topic: "orders", All: true}.Validate(),
		"Query.IDs[1] is not UTF-8 without NUL":      (&outbox.Query{IDs: []string{"a", "\xff"}}).Validate(),
		"Query.Topic is not UTF-8 without NUL":       (&outbox.Query{Topic: "\x00"}).Validate(),
		"Query.After is not UTF-8 without NUL":       (&outbox.Query{After: "\x00"}).Validate(),
		"Query.Limit is -1, below zero":              (&outbox.Query{Limit: -1}).Validate(),
		"Selection.IDs[0] is not UTF-8 without NUL":  outbox.Selection{IDs: []string{"\xff"}}.Validate(),
		"Selection.Topic is not UTF-8 without NUL":   outbox.Selection{Topic: "\xff"}.Validate(),
	} {
		require.ErrorIs(t, err, outbox.ErrInvalid)
		assert.ErrorContains(t, err, want)
	}
	query := outbox.Query{IDs: []string{""}, MaxPayload: -7}
	require.NoError(t, query.Validate())
	assert.Equal(t, outbox.DefaultQueryLimit, query.Limit)
}
