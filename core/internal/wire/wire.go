// Package wire holds the JSON shapes, paths and limits of the Postoffice
// server's HTTP API, shared by the client and by the fake server that tests
// run against. The figures were observed on Postoffice 0.19.0.
package wire

import "encoding/json"

// Paths of the API, below the server's base URL. The server answers each of
// them with and without a trailing slash.
const (
	HealthPath    = "/api/health"
	TopicsPath    = "/api/topics"
	ConsumersPath = "/api/publishers" // the server's word for consumers
	MessagePath   = "/api/messages"
	BulkPath      = "/api/bulk_messages"
	SchedulePath  = "/api/schedule_messages"
)

// Limits of the server.
const (
	// MaxNameLength is how many characters a topic's name, an origin host or
	// a consumer's target may have; one more is answered with 500.
	MaxNameLength = 255
	// MaxBulk is how many payloads one bulk request may carry.
	MaxBulk = 3000
	// MaxBody is how many bytes of request body are accepted for sure.
	MaxBody = 8_000_000
	// MaxJobs is how many jobs (payloads times HTTP consumers) one bulk
	// request may create: 65,535 SQL parameters at 10 a job.
	MaxJobs = 6553
)

// Texts by which errors are told apart.
const (
	// BulkLimitError is the reason given, with 406, for more payloads than
	// the server takes at once.
	BulkLimitError = "Exceed max messages to ingest in bulk"
	// BulkTopicError is the reason given, with 406, for an unknown topic.
	BulkTopicError = "Topic does not exist"
)

// MessageIDHeader is the header of a delivery that holds the job's id.
const MessageIDHeader = "message-id"

// AttributesKey is the key under which a consumer finds the attributes in
// the payload; a payload's own value under it is overwritten by the server.
const AttributesKey = "attributes"

// MetadataKey is the key of a payload under which a client of this module puts
// metadata, an object of strings. The server passes it on as it does every key.
const MetadataKey = "_postoffice"

// Topic is the body of a request that creates a topic.
type Topic struct {
	Name            string `json:"name"`
	OriginHost      string `json:"origin_host"`
	RecoveryEnabled bool   `json:"recovery_enabled"`
}

// Consumer is the body of a request that creates a consumer. Active is
// always sent, because the server takes a missing one for false. A nil
// number leaves the server's default.
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

// MessageAnswer is the server's answer to a message or a scheduled message:
// one job id per consumer.
type MessageAnswer struct {
	ID []int64 `json:"id"`
}

// BulkAnswer is the server's answer to a bulk request.
type BulkAnswer struct {
	Result []int64 `json:"result"`
}

// HealthAnswer is the server's answer to a health check: "ok" or "ko", both
// with 200.
type HealthAnswer struct {
	Status string `json:"status"`
}

// RecoveryItem is one element of the list that an origin host offers to the
// server's rescuer: these five keys and no other, since the server passes
// any further key along as a field of the message.
type RecoveryItem struct {
	ID         string          `json:"id"`
	Topic      string          `json:"topic"`
	Payload    json.RawMessage `json:"payload"`
	Attributes json.RawMessage `json:"attributes"`
	Bulk       bool            `json:"bulk"`
}
