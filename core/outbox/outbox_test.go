package outbox_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"

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
}
