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
	record.PayloadSize, record.AttributesSize = 7, 9
	assert.EqualValues(t, 8+7+9, record.Size(), "nothing is cut off")
	record.Payload, record.Attributes = record.Payload[:2], nil
	assert.EqualValues(t, 8+7+9, record.Size(), "that of the whole")
}

func TestValidationNamesTheField(t *testing.T) {
	cut := outbox.Record{ID: "1", Topic: "orders", Payload: json.RawMessage(`{"`), PayloadSize: 7}
	whole := outbox.Record{ID: "1", Topic: "orders", Payload: json.RawMessage(`{}`), PayloadSize: 2}
	for want, err := range map[string]error{
		"records[1].Payload is cut: it has 2 of PayloadSize = 7 bytes": outbox.ValidateRecords(whole, cut),
		"Query.IDs[1] is not UTF-8 without NUL":                        (&outbox.Query{IDs: []string{"a", "\xff"}}).Validate(),
		"Query.Topic is not UTF-8 without NUL":                         (&outbox.Query{Topic: "\x00"}).Validate(),
		"Query.After is not UTF-8 without NUL":                         (&outbox.Query{After: "\x00"}).Validate(),
		"Query.Limit is -1, below zero":                                (&outbox.Query{Limit: -1}).Validate(),
		"Selection.IDs[0] is not UTF-8 without NUL":                    outbox.Selection{IDs: []string{"\xff"}}.Validate(),
		"Selection.Topic is not UTF-8 without NUL":                     outbox.Selection{Topic: "\xff"}.Validate(),
	} {
		require.ErrorIs(t, err, outbox.ErrInvalid)
		assert.ErrorContains(t, err, want)
	}
	query := outbox.Query{IDs: []string{""}, MaxPayload: -7}
	require.NoError(t, query.Validate())
	assert.Equal(t, outbox.DefaultQueryLimit, query.Limit)
}
