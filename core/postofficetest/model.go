package postofficetest

import (
	"encoding/json"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
)

// Types of a consumer.
const (
	TypeHTTP   = "http"
	TypePubSub = "pubsub"
)

// Topic is a topic that the server knows.
type Topic struct {
	// ID is given by the server.
	ID int64
	// Name is unique.
	Name string
	// OriginHost is what the rescuer calls when RecoveryEnabled is set,
	// exactly as registered, userinfo included.
	OriginHost      string
	RecoveryEnabled bool
}

// Consumer is a consumer that the server knows.
type Consumer struct {
	// ID is given by the server; the API never tells it.
	ID int64
	// Topic, Target and Type together are unique, deleted consumers
	// included. Target is kept exactly as registered.
	Topic, Target string
	// Type is TypeHTTP, which is the default, or TypePubSub.
	Type string
	// Paused consumers get jobs, which wait when the consumer is Heeded. The
	// API creates paused consumers unless "active" is true.
	Paused bool
	// Deleted consumers get no new jobs. Those that there are end when the
	// consumer is Heeded.
	Deleted bool
	// Heeded means that deliveries know that the consumer is paused or
	// deleted. A server that knew no such consumer when it started never
	// learns: it delivers to consumers that the API creates inactive at once,
	// and goes on with the jobs of those that the API deletes. That ends when
	// it starts with such a consumer: with [WithRecords], or for this server
	// with [Server.AddConsumer] or [Server.SetPaused] of a paused one. It is
	// given by the server.
	Heeded bool
	// Timeout bounds a delivery; 5 s by default, 30 s when the client said
	// null.
	Timeout time.Duration
	// ChunkSize is how many payloads of a bulk make one job of a pubsub
	// consumer; 20 by default.
	ChunkSize int
}

// Via tells how a message came.
type Via int

// Ways in which a message comes.
const (
	// Single is POST /api/messages.
	Single Via = iota + 1
	// Bulk is POST /api/bulk_messages.
	Bulk
	// Scheduled is POST /api/schedule_messages.
	Scheduled
	// Rescued is the rescuer's list of an origin host.
	Rescued
)

// String returns "single", "bulk", "scheduled" or "rescued".
func (v Via) String() string {
	switch v {
	case Single:
		return "single"
	case Bulk:
		return "bulk"
	case Scheduled:
		return "scheduled"
	case Rescued:
		return "rescued"
	default:
		return "unknown"
	}
}

// Message is a message that the server accepted.
type Message struct {
	// Number is given by the server, which counts what it accepts from 1.
	Number int64
	// Topic is the message's topic.
	Topic string
	// Payload and Attributes are the JSON texts as they came; nil when the
	// client left them out. The payload includes its Metadata.
	Payload, Attributes json.RawMessage
	// Via tells how it came.
	Via Via
	// AcceptedAt is when it came, by the server's clock.
	AcceptedAt time.Time
	// DeliverAt is the schedule_at of a scheduled message; zero otherwise.
	// It is zero, too, when the server did not look at it for want of a
	// consumer.
	DeliverAt time.Time
	// JobIDs are the jobs made for it, newest first: one for each consumer
	// of the topic.
	JobIDs []int64
}

// ThrownAway reports whether the message was accepted and went nowhere,
// because its topic had no consumer.
func (m Message) ThrownAway() bool { return len(m.JobIDs) == 0 }

// Metadata returns the metadata that a client has put into the payload, under
// the key "_postoffice" ([core.MetadataKey]). It is nil if the payload has none.
func (m Message) Metadata() map[string]string {
	_, text := metadata.Cut(m.Payload)
	found, _ := metadata.Parse(text)
	return found
}
