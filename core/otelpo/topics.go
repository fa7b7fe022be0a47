package otelpo

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
)

// topic caches the attributes of a topic's measurements and spans, so that a message
// costs only the lookup of its topic. Each part is created on its first use.
type topic struct {
	name   string // empty if it is unknown or cannot be a topic
	labels [len(topicLabels)]atomic.Pointer[labelled]
	spans  [spanKinds]atomic.Pointer[spanStart]
}

func newTopic(name string) *topic { return &topic{name: name} }

// The labels of a topic: indexes of topicLabels.
const (
	alone = iota
	publishing
	posting
	fromCall
	fromOutbox
	delivered
	stored
	queued
)

// topicLabels are the labels of a topic, except the labels of failures, which vary.
var topicLabels = [...]label{
	alone:      {},
	publishing: {operation: "publish"},
	posting:    {operation: "post"},
	fromCall:   {key: fromOutboxKey, value: "false"},
	fromOutbox: {key: fromOutboxKey, value: "true"},
	delivered:  {key: stateKey, value: core.Delivered.String()},
	stored:     {key: stateKey, value: core.Stored.String()},
	queued:     {key: stateKey, value: core.Queued.String()},
}

// label returns the attributes of one of topicLabels.
func (t *topic) label(index int) *labelled {
	if made := t.labels[index].Load(); made != nil {
		return made
	}
	name := topicLabels[index]
	name.topic = t.name
	made := newLabelled(name)
	t.labels[index].Store(made)
	return made
}

// spanStart is the common part of spans of a kind for a topic.
type spanStart struct {
	name    string
	options []trace.SpanStartOption
}

// Kinds of spans.
const (
	publish = iota
	post
	spanKinds
)

// span returns the common part of spans of a kind.
func (t *topic) span(kind int) *spanStart {
	if made := t.spans[kind].Load(); made != nil {
		return made
	}
	operation, role := topicLabels[publishing].operation, trace.SpanKindProducer
	if kind == post {
		operation, role = topicLabels[posting].operation, trace.SpanKindClient
	}
	attributes := []attribute.KeyValue{system, semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeSend}
	made := &spanStart{name: operation}
	if t.name != "" {
		made.name += " " + t.name
		attributes = append(attributes, semconv.MessagingDestinationName(t.name))
	}
	made.options = []trace.SpanStartOption{trace.WithSpanKind(role), trace.WithAttributes(attributes...)}
	t.spans[kind].Store(made)
	return made
}
