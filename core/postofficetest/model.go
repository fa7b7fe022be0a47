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

// Topic is a topic of the server.
type Topic struct {
	// ID is set by the server.
	ID int64
	// Name is unique.
	Name string
	// OriginHost is what the rescuer calls if RecoveryEnabled is set, exactly as
	// registered, including userinfo.
	OriginHost      string
	RecoveryEnabled bool
}

// Consumer is a consumer of the server.
type Consumer struct {
	// ID is set by the server; the API does not return it.
	ID int64
	// Topic, Target and Type together are unique, also among deleted consumers.
	// Target is kept exactly as registered.
	Topic, Target string
	// Type is TypeHTTP, which is the default, or TypePubSub.
	Type string
	// Paused consumers get jobs, which wait if the consumer is Heeded. The API
	// creates paused consumers unless "active" is true.
	Paused bool
	// Deleted consumers get no new jobs. Existing jobs end if the consumer is
	// Heeded.
	Deleted bool
	// Heeded means that deliveries respect that the consumer is paused or deleted. A
	// server that had no such consumer when it started ignores both: it delivers to
	// consumers that the API creates inactive, and continues the jobs of those that
	// the API deletes. It respects them after a start with such a consumer: with
	// [WithRecords], or for this server with [Server.AddConsumer] or
	// [Server.SetPaused] of a paused one. Heeded is set by the server.
	Heeded bool
	// Timeout bounds a delivery; 5 s by default, 30 s if the client sent null.
	Timeout time.Duration
	// ChunkSize is how many payloads of a bulk are one job of a pubsub consumer; 20
	// by default.
	ChunkSize int
}

// Via says how a message was published.
type Via int

// Ways of publishing a message.
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
	// Number is set by the server, which counts accepted messages from 1.
	Number int64
	// Topic is the message's topic.
	Topic string
	// Payload and Attributes are the JSON texts as received; nil if the client left
	// them out. The payload includes its Metadata.
	Payload, Attributes json.RawMessage
	// Via says how the message was published.
	Via Via
	// AcceptedAt is the time of arrival by the server's clock.
	AcceptedAt time.Time
	// DeliverAt is the schedule_at of a scheduled message; zero otherwise. It is
	// also zero if the server ignored it because there was no consumer.
	DeliverAt time.Time
	// JobIDs are the message's jobs, newest first: one for each consumer of the
	// topic.
	JobIDs []int64
}

// ThrownAway reports whether the message was accepted and delivered to nobody,
// because its topic had no consumer.
func (m Message) ThrownAway() bool { return len(m.JobIDs) == 0 }

// Metadata returns the metadata in the payload, under the key "_postoffice"
// ([core.MetadataKey]); nil if the payload has none.
func (m Message) Metadata() map[string]string {
	_, text := metadata.Cut(m.Payload)
	found, _ := metadata.Parse(text)
	return found
}
