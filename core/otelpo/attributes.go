package otelpo

import (
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Names of attributes that the conventions have none for.
const (
	stateKey       = attribute.Key("postoffice.state")
	classKey       = attribute.Key("postoffice.failure.class")
	fromOutboxKey  = attribute.Key("postoffice.from_outbox")
	breakerKey     = attribute.Key("postoffice.breaker.state")
	outboxStateKey = attribute.Key("postoffice.outbox.state")
	setupKindKey   = attribute.Key("postoffice.setup.kind")
	setupStatusKey = attribute.Key("postoffice.setup.status")
)

// Names of operations.
const (
	publishing = "publish"
	posting    = "post"
)

// system is the messaging.system of everything.
var system = semconv.MessagingSystemKey.String("postoffice")

// maxLabels bounds how many sets of attributes are remembered, for an app
// may make up topics without end.
const maxLabels = 2000

// label names a set of attributes of a measurement.
type label struct {
	topic, operation string
	key              attribute.Key
	value            string
	errorType        string
}

// labelled is a set of attributes, ready to be used.
type labelled struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// labels remembers sets of attributes, for making one costs more than
// measuring does.
type labels struct {
	sets  sync.Map // of label to *labelled
	count atomic.Int64
}

// of returns the attributes of a label. Empty parts are left out.
func (l *labels) of(name label) *labelled {
	if found, ok := l.sets.Load(name); ok {
		return found.(*labelled)
	}
	attributes := []attribute.KeyValue{system}
	if name.topic != "" {
		attributes = append(attributes, semconv.MessagingDestinationName(name.topic))
	}
	if name.operation != "" {
		attributes = append(attributes, semconv.MessagingOperationName(name.operation))
	}
	if name.key != "" {
		attributes = append(attributes, name.key.String(name.value))
	}
	if name.errorType != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(name.errorType))
	}
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	made := &labelled{add: []metric.AddOption{option}, record: []metric.RecordOption{option}}
	if l.count.Load() < maxLabels {
		if _, loaded := l.sets.LoadOrStore(name, made); !loaded {
			l.count.Add(1)
		}
	}
	return made
}

// spanStart is what spans of an operation about a topic begin with.
type spanStart struct {
	name    string
	options []trace.SpanStartOption
}

// spanLabel names a spanStart.
type spanLabel struct {
	operation, topic string
	many             bool
}

// spanStarts remembers how spans begin.
type spanStarts struct {
	starts sync.Map // of spanLabel to *spanStart
	count  atomic.Int64
}

func (s *spanStarts) of(name spanLabel) *spanStart {
	if found, ok := s.starts.Load(name); ok {
		return found.(*spanStart)
	}
	kind, operationType := trace.SpanKindClient, semconv.MessagingOperationTypeSend
	if name.operation == publishing {
		kind = trace.SpanKindProducer
		if !name.many {
			operationType = semconv.MessagingOperationTypeCreate
		}
	}
	attributes := []attribute.KeyValue{system, semconv.MessagingOperationName(name.operation), operationType}
	made := &spanStart{name: name.operation}
	if name.topic != "" {
		made.name += " " + name.topic
		attributes = append(attributes, semconv.MessagingDestinationName(name.topic))
	}
	made.options = []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(attributes...)}
	if s.count.Load() < maxLabels {
		if _, loaded := s.starts.LoadOrStore(name, made); !loaded {
			s.count.Add(1)
		}
	}
	return made
}

// maxTopic is the longest topic, in bytes, that is told: the server takes up
// to 255 characters.
const maxTopic = 4 * 255

// topicOf returns a topic that can be told; empty for one that cannot be a
// topic.
func topicOf(topic string) string {
	if len(topic) > maxTopic || !utf8.ValidString(topic) {
		return ""
	}
	return topic
}
