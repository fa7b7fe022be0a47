package office

import (
	"bytes"
	"io"
	"slices"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// scheduleLayout is the format of schedule_at: ISO 8601 with microseconds,
// which is the precision of the server, and with the required offset.
const scheduleLayout = "2006-01-02T15:04:05.000000Z07:00"

// body is the body of a request.
type body struct {
	text []byte
	// collected counts the readers of the text; nil if they are not counted.
	collected *Collected
}

func (b body) size() int { return len(b.text) }

// open returns a reader of the body. Without a counter, net/http knows the type
// of the reader as one in memory, and sends the body together with the headers.
func (b body) open() io.ReadCloser {
	if b.collected != nil {
		return b.collected.open()
	}
	return io.NopCloser(bytes.NewReader(b.text))
}

// Collector collects payloads of a topic in the body of a bulk request, which
// copies each payload only once. Call Begin before other methods of the zero
// Collector.
type Collector struct {
	text []byte
	head int
	// ends are the end offsets of the payloads; a comma follows each payload.
	ends      []int
	messages  []message.Message
	collected Collected
}

// Begin begins a body. It reuses the buffers of the previous one.
func (c *Collector) Begin(topic string) {
	c.text = appendBulkHead(c.text[:0], topic)
	c.head, c.ends = len(c.text), c.ends[:0]
}

// Size returns the size of the body so far and its number of payloads.
func (c *Collector) Size() (bytes, payloads int) { return len(c.text), len(c.ends) }

// Grow allocates capacity for a body of the given size, in the units of Size.
func (c *Collector) Grow(bytes, payloads int) {
	c.text = slices.Grow(c.text, max(bytes-len(c.text), 0))
	c.ends = slices.Grow(c.ends, max(payloads-len(c.ends), 0))
}

// Add adds a copy of a payload.
func (c *Collector) Add(payload []byte) {
	c.text = appendBulkPayload(c.text, payload)
	c.ends = append(c.ends, len(c.text)-len(","))
}

// Finish adds the payloads, at least one, to the batch as messages, and sets
// the body of the batch.
func (c *Collector) Finish(b *message.Batch) *Collected {
	c.messages = slices.Grow(c.messages[:0], len(c.ends))
	start := c.head
	for _, end := range c.ends {
		c.messages = append(c.messages, message.Message{Payload: c.text[start:end:end]})
		start = end + len(",")
	}
	b.Messages = c.messages
	c.text = appendBulkTail(c.text, b.Attributes)
	c.collected.text = c.text
	b.Body = &c.collected
	return &c.collected
}

// Collected is the body of a finished [Collector]. It counts its readers:
// without readers, its buffers can be reused.
type Collected struct {
	text    []byte
	readers atomic.Int32
}

// Size implements [message.Body].
func (c *Collected) Size() int { return len(c.text) }

func (c *Collected) open() io.ReadCloser {
	c.readers.Add(1)
	return &countedReader{Reader: bytes.NewReader(c.text), readers: &c.readers}
}

// Free reports whether the body has no readers. The transport releases a reader
// by closing it.
func (c *Collected) Free() bool { return c.readers.Load() == 0 }

// countedReader is a reader that counts until it is closed. An
// http.RoundTripper closes a body when it no longer reads it, possibly after
// RoundTrip has returned.
type countedReader struct {
	*bytes.Reader
	readers *atomic.Int32
	closed  atomic.Bool
}

// Close releases the reader.
func (r *countedReader) Close() error {
	if !r.closed.Swap(true) {
		r.readers.Add(-1)
	}
	return nil
}

// messageBody returns the body of a request with one message.
func messageBody(b *message.Batch, index int, scheduled bool) []byte {
	payload, attributes := b.Messages[index].Payload, b.AttributesOf(index)
	text := make([]byte, 0, len(b.Topic)+len(attributes)+len(payload)+128)
	text = appendTopic(text, b.Topic)
	text = append(text, `,"payload":`...)
	text = append(text, payload...)
	text = append(text, `,"attributes":`...)
	text = append(text, attributes...)
	if scheduled {
		text = append(text, `,"schedule_at":"`...)
		text = b.DeliverAt.UTC().AppendFormat(text, scheduleLayout)
		text = append(text, '"')
	}
	return append(text, '}')
}

// bulkBody returns the body of a bulk request with at least one message.
func bulkBody(b *message.Batch, indexes []int) []byte {
	size := len(b.Topic) + len(b.Attributes) + 128
	for _, index := range indexes {
		size += len(b.Messages[index].Payload) + 1
	}
	text := appendBulkHead(make([]byte, 0, size), b.Topic)
	for _, index := range indexes {
		text = appendBulkPayload(text, b.Messages[index].Payload)
	}
	return appendBulkTail(text, b.Attributes)
}

// emptyBulk returns the body of a bulk request without messages.
func emptyBulk(topic string) []byte {
	return append(appendBulkHead(nil, topic), `],"attributes":{}}`...)
}

// appendBulkHead begins the body of a bulk request, appendBulkPayload adds a
// payload, and appendBulkTail ends the body, which must have at least one
// payload.
func appendBulkHead(to []byte, topic string) []byte {
	return append(appendTopic(to, topic), `,"payload":[`...)
}

func appendBulkPayload(to, payload []byte) []byte {
	return append(append(to, payload...), ',')
}

func appendBulkTail(to, attributes []byte) []byte {
	to = append(to[:len(to)-len(",")], `],"attributes":`...)
	return append(append(to, attributes...), '}')
}

// appendTopic begins a message's object with its topic.
func appendTopic(to []byte, topic string) []byte {
	return message.AppendString(append(to, `{"topic":`...), topic)
}
