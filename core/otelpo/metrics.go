package otelpo

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"

	"github.com/postoffice-go/postoffice/core"
)

// ageBounds are the bounds of the histogram of ages, in seconds: from the time of a
// request to a long outage.
var ageBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}

// attemptBounds are the bounds of the histogram of attempts.
var attemptBounds = []float64{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000}

// durationBounds are the bounds that the conventions define, in seconds.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// metrics are the instruments of an Observer.
type metrics struct {
	topics   remembered[string, topic]
	failures remembered[label, labelled]

	duration                    metric.Float64Histogram
	sent                        metric.Int64Counter
	published, stored, spilled  metric.Int64Counter
	dead, noConsumer, discarded metric.Int64Counter
	lists, listed, recovered    metric.Int64Counter
	breaker, setup              metric.Int64Counter
	age                         metric.Float64Histogram
	attempts                    metric.Int64Histogram
}

func newMetrics(meter metric.Meter) *metrics {
	m := &metrics{}
	counter := func(name, unit, description string) metric.Int64Counter {
		made, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		report(err)
		return made
	}
	const messages = "{message}"
	m.sent = counter("messaging.client.sent.messages", messages, "Number of messages producer attempted to send to the broker.")
	m.published = counter("postoffice.published.messages", messages, "Messages that were accepted.")
	m.stored = counter("postoffice.stored.messages", messages, "Messages stored in the outbox because they could not be delivered.")
	m.spilled = counter("postoffice.spilled.messages", messages, "Messages stored in the outbox without being posted.")
	m.dead = counter("postoffice.dead.messages", messages, "Messages that the server rejected permanently.")
	m.noConsumer = counter("postoffice.no_consumer.messages", messages, "Messages that the server dropped, because their topic has no consumers.")
	m.discarded = counter("postoffice.discarded.messages", messages, "Messages dropped by FlushOn or discarded from the outbox.")
	m.lists = counter("postoffice.recovery.lists", "{list}", "Recovery lists that the server's rescuer fetched.")
	m.listed = counter("postoffice.recovery.listed.messages", messages, "Messages on recovery lists.")
	m.recovered = counter("postoffice.recovery.deleted.messages", messages, "Messages that the server's rescuer confirmed.")
	m.breaker = counter("postoffice.breaker.changes", "{change}", "Changes of the circuit breaker, by the new state.")
	m.setup = counter("postoffice.setup.results", "{result}", "Attempts to create a topic or consumer, by outcome.")
	var err error
	m.duration, err = meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of messaging operation initiated by a producer or consumer client."), metric.WithExplicitBucketBoundaries(durationBounds...))
	report(err)
	m.age, err = meter.Float64Histogram("postoffice.delivery.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message of each request that the server accepted."), metric.WithExplicitBucketBoundaries(ageBounds...))
	report(err)
	m.attempts, err = meter.Int64Histogram("postoffice.delivery.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Maximum number of attempts of the messages of each request that the server accepted."), metric.WithExplicitBucketBoundaries(attemptBounds...))
	report(err)
	return m
}

// topic returns the common part of a topic's measurements.
func (m *metrics) topic(name string) *topic { return m.topics.of(name, newTopic) }

// count adds the messages of an event.
func (m *metrics) count(counter metric.Int64Counter, e core.Event, labels *labelled) {
	if e.Messages > 0 {
		counter.Add(context.Background(), int64(e.Messages), labels.add...)
	}
}

// countByTopic returns a function that adds the messages of events.
func (m *metrics) countByTopic(counter metric.Int64Counter) func(core.Event) {
	return func(e core.Event) { m.count(counter, e, m.topic(e.Topic).label(alone)) }
}

// publish counts accepted messages.
func (m *metrics) publish(e core.Event) {
	state := delivered
	switch e.State {
	case core.Stored:
		state = stored
	case core.Queued:
		state = queued
	}
	m.count(m.published, e, m.topic(e.Topic).label(state))
}

// deliver measures a request that the server accepted.
func (m *metrics) deliver(e core.Event) {
	topic, from := m.topic(e.Topic), fromCall
	if e.FromOutbox {
		from = fromOutbox
	}
	m.count(m.sent, e, topic.label(posting))
	options := topic.label(from).record
	m.age.Record(context.Background(), e.Age.Seconds(), options...)
	m.attempts.Record(context.Background(), int64(e.Attempts), options...)
}

// fail counts messages that the server did not accept.
func (m *metrics) fail(e core.Event) {
	m.count(m.sent, e, m.failures.of(label{
		topic: e.Topic, operation: topicLabels[posting].operation, key: classKey, value: string(e.Class), errorType: errorType(e.Err),
	}, newLabelled))
}

// setUp counts the outcome of an attempt to create a topic or consumer.
func (m *metrics) setUp(result core.SetupResult) {
	kind := "topic"
	if result.Target != "" {
		kind = "consumer"
	}
	m.setup.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(system,
		semconv.MessagingDestinationName(result.Topic), setupKindKey.String(kind), setupStatusKey.String(result.Status.String()))))
}

// took records the duration of publishing or posting. The context may have ended, which
// does not affect measurements.
func (m *metrics) took(ctx context.Context, operation int, topic *topic, began time.Time, failure string) {
	labels := topic.label(operation)
	if failure != "" {
		labels = m.failures.of(label{topic: topic.name, operation: topicLabels[operation].operation, errorType: failure}, newLabelled)
	}
	m.duration.Record(ctx, time.Since(began).Seconds(), labels.record...)
}
