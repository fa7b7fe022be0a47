// Package wire has the JSON shapes, paths and limits of the Postoffice server's
// HTTP API. It is shared by the client and the fake server for tests. The
// limits were observed on Postoffice 0.19.0.
package wire

import "encoding/json"

// Paths of the API, below the server's base URL. The server accepts each path
// with and without a trailing slash.
const (
	HealthPath    = "/api/health"
	TopicsPath    = "/api/topics"
	ConsumersPath = "/api/publishers" // the server's name for consumers
	MessagePath   = "/api/messages"
	BulkPath      = "/api/bulk_messages"
	SchedulePath  = "/api/schedule_messages"
)

// Limits of the server.
const (
	// MaxNameLength is the maximum number of characters in the name of a topic,
	// an origin host or the target of a consumer. The server responds with 500
	// to longer ones.
	MaxNameLength = 255
	// MaxBulk is the maximum number of payloads in a bulk request.
	MaxBulk = 3000
	// MaxBody is the number of bytes that the server accepts in any request
	// body.
	MaxBody = 8_000_000
	// MaxJobs is the maximum number of jobs (payloads times HTTP consumers)
	// that a bulk request may create: 65,535 SQL parameters at 10 per job.
	MaxJobs = 6553
)

// Texts that identify errors.
const (
	// BulkLimitError is the reason, with 406, for too many payloads in one
	// request.
	BulkLimitError = "Exceed max messages to ingest in bulk"
	// BulkTopicError is the reason, with 406, for an unknown topic.
	BulkTopicError = "Topic does not exist"
)

// MessageIDHeader is the header of a delivery that has the job's id.
const MessageIDHeader = "message-id"

// AttributesKey is the key of a delivered payload under which the server puts
// the attributes. It overwrites the payload's own value.
const AttributesKey = "attributes"

// MetadataKey is the key of a payload under which a client of this module puts
// metadata, an object of strings. The server passes it on like every other key.
const MetadataKey = "_postoffice"

// Topic is the body of a request that creates a topic.
type Topic struct {
	Name            string `json:"name"`
	OriginHost      string `json:"origin_host"`
	RecoveryEnabled bool   `json:"recovery_enabled"`
}

// Consumer is the body of a request that creates a consumer. Active is always
// sent, because the server treats a missing value as false. For a nil number,
// the server uses its default.
type Consumer struct {
	Topic          string `json:"topic"`
	Target         string `json:"target"`
	Type           string `json:"type"`
	Active         bool   `json:"active"`
	FromNow        bool   `json:"from_now"`
	SecondsTimeout *int64 `json:"seconds_timeout,omitempty"`
	SecondsRetry   *int64 `json:"seconds_retry,omitempty"`
	ChunkSize      *int64 `json:"chunk_size,omitempty"`
}

// MessageAnswer is the server's response to a message or a scheduled message.
// It has one job id per consumer.
type MessageAnswer struct {
	ID []int64 `json:"id"`
}

// BulkAnswer is the server's response to a bulk request.
type BulkAnswer struct {
	Result []int64 `json:"result"`
}

// HealthAnswer is the server's response to a health check: "ok" or "ko", both
// with status 200.
type HealthAnswer struct {
	Status string `json:"status"`
}

// RecoveryItem is one element of the list that an origin host offers to the
// server's rescuer. It has exactly these five keys, because the server treats
// any other key as a field of the message.
type RecoveryItem struct {
	ID         string          `json:"id"`
	Topic      string          `json:"topic"`
	Payload    json.RawMessage `json:"payload"`
	Attributes json.RawMessage `json:"attributes"`
	Bulk       bool            `json:"bulk"`
}
