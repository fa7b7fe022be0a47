package otelpo

import (
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"
)

// Names of attributes that the conventions do not define.
const (
	stateKey       = attribute.Key("postoffice.state")
	classKey       = attribute.Key("postoffice.failure.class")
	fromOutboxKey  = attribute.Key("postoffice.from_outbox")
	breakerKey     = attribute.Key("postoffice.breaker.state")
	outboxStateKey = attribute.Key("postoffice.outbox.state")
	setupKindKey   = attribute.Key("postoffice.setup.kind")
	setupStatusKey = attribute.Key("postoffice.setup.status")
	outcomeKey     = attribute.Key("postoffice.outcome")
	attemptsKey    = attribute.Key("postoffice.attempts")
	inboxStateKey  = attribute.Key("postoffice.inbox.state")
)

// system is the messaging.system of all metrics and spans.
var system = semconv.MessagingSystemKey.String("postoffice")

// label names a set of attributes of a measurement.
type label struct {
	topic, operation string
	subscription     string
	key              attribute.Key
	value            string
	errorType        string
}

// labelled is a set of attributes as options of measurements.
type labelled struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// newLabelled returns the attributes of a label, without empty parts.
func newLabelled(name label) *labelled {
	attributes := []attribute.KeyValue{system}
	if name.topic != "" {
		attributes = append(attributes, semconv.MessagingDestinationName(name.topic))
	}
	if name.operation != "" {
		attributes = append(attributes, semconv.MessagingOperationName(name.operation))
	}
	if name.subscription != "" {
		attributes = append(attributes, semconv.MessagingDestinationSubscriptionName(name.subscription))
	}
	if name.key != "" {
		attributes = append(attributes, name.key.String(name.value))
	}
	if name.errorType != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(name.errorType))
	}
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return &labelled{add: []metric.AddOption{option}, record: []metric.RecordOption{option}}
}

// maxRemembered is the maximum number of remembered values, because an app may use any
// number of topics.
const maxRemembered = 2000

// remembered caches the values of the first maxRemembered keys, because creating a set
// of attributes costs more than a measurement.
type remembered[K comparable, V any] struct {
	made  sync.Map // of K to *V
	count atomic.Int64
}

// of returns the value of a key, and creates it if it is missing.
func (r *remembered[K, V]) of(key K, make func(K) *V) *V {
	if found, ok := r.made.Load(key); ok {
		return found.(*V)
	}
	value := make(key)
	if r.count.Load() < maxRemembered {
		if _, loaded := r.made.LoadOrStore(key, value); !loaded {
			r.count.Add(1)
		}
	}
	return value
}

// maxTopic is the length of the longest topic in attributes, in bytes: the server
// accepts up to 255 characters.
const maxTopic = 4 * 255

// topicOf returns a topic for attributes; empty for a text that cannot be a topic.
func topicOf(topic string) string {
	if len(topic) > maxTopic || !utf8.ValidString(topic) {
		return ""
	}
	return topic
}
