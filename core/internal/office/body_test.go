package office

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// collect makes a batch of payloads by a collector.
func collect(c *Collector, topic string, payloads ...string) (*message.Batch, *Collected) {
	c.Begin(topic)
	for _, payload := range payloads {
		c.Add([]byte(payload))
	}
	b := &message.Batch{Topic: topic, Attributes: []byte(`{"a":"b"}`)}
	return b, c.Finish(b)
}

func TestCollectorMakesTheBodyOfItsMessages(t *testing.T) {
	var c Collector
	for round := range 3 { // with the same buffers
		topic := fmt.Sprintf("to%dpic\"", round)
		b, collected := collect(&c, topic, `{"n":1}`, `{}`, `{"n":[3]}`)
		require.Len(t, b.Messages, 3)
		assert.Equal(t, `{"n":1}`, string(b.Messages[0].Payload))
		assert.Equal(t, `{}`, string(b.Messages[1].Payload))
		assert.Equal(t, `{"n":[3]}`, string(b.Messages[2].Payload))
		assert.JSONEq(t, fmt.Sprintf(`{"topic":%q,"payload":[{"n":1},{},{"n":[3]}],"attributes":{"a":"b"}}`, topic), string(collected.text))
		assert.Equal(t, string(bulkBody(b, []int{0, 1, 2})), string(collected.text), "as it is made of messages")
		assert.Equal(t, len(collected.text), b.Body.Size())
		_ = append(b.Messages[0].Payload, "..."...)
		assert.NotContains(t, string(collected.text), "...", "appending to a payload leaves the body as it is")
	}
}

// The buffers of a body may be used again when nobody reads it: neither the first
// reader nor one of another try, which may go on after the request has failed.
func TestBodyIsFreeWhenNobodyReadsIt(t *testing.T) {
	var c Collector
	_, collected := collect(&c, "orders", `{}`)
	assert.True(t, collected.Free())
	b := body{collected.text, collected}
	first, second := b.open(), b.open()
	text, err := io.ReadAll(first)
	require.NoError(t, err)
	assert.Len(t, text, b.size())
	assert.False(t, collected.Free(), "it was read, and not closed")
	require.NoError(t, first.Close())
	require.NoError(t, first.Close(), "closing twice counts once")
	assert.False(t, collected.Free())
	require.NoError(t, second.Close())
	assert.True(t, collected.Free())
}
