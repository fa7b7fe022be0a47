package otelpo

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// DeliveryObserver returns an Observer that records metrics and traces of the messages
// that an app receives. Use it with [delivery.WithObserver] and
// [delivery.InboxOptions].Observer, for any number of handlers and inboxes;
// [delivery.JoinObservers] joins it with others. Without options it uses
// OpenTelemetry's global providers. OpenTelemetry's error handler gets options that are
// nil or have a bad value, and instruments that cannot be created; the others work.
func DeliveryObserver(options ...Option) delivery.Observer {
	s, err := resolve(options)
	report(err)
	r := newReceiving(s.meter())
	if _, off := s.tracers.(noop.TracerProvider); !off {
		r.tracer = s.tracer()
	}
	counted := func(outcome string) func(delivery.Event) {
		return func(e delivery.Event) { r.count(e, outcome, "") }
	}
	observer := delivery.Observer{
		Stored: counted("stored"), Duplicate: counted("duplicate"), Skipped: counted("skipped"), Busy: counted("busy"),
		Refused: func(e delivery.Event) { r.count(e, "refused", receivingError(e.Kind, e.TimedOut, e.Err)) },
		Handled: r.handled, Dead: counted("dead"),
	}
	if r.tracer != nil {
		observer.Handle = r.handle
	}
	return observer
}

// processing is the messaging.operation.name of calls of functions.
const processing = "process"

// receiving holds the instruments of a DeliveryObserver.
type receiving struct {
	tracer trace.Tracer // nil for no spans
	labels remembered[label, labelled]
	spans  remembered[subscription, spanStart]

	consumed, outcomes metric.Int64Counter
	duration, age      metric.Float64Histogram
	attempts           metric.Int64Histogram
}

// subscription identifies a handler or inbox by its topic and name.
type subscription struct{ topic, name string }

func newReceiving(meter metric.Meter) *receiving {
	r := &receiving{}
	var err error
	r.consumed, err = meter.Int64Counter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Number of messages that were delivered to the application."))
	report(err)
	r.duration, err = meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of processing operation."), metric.WithExplicitBucketBoundaries(durationBounds...))
	report(err)
	r.outcomes, err = meter.Int64Counter("postoffice.consumer.outcomes", metric.WithUnit("{outcome}"),
		metric.WithDescription("Outcomes of the requests of the server, and of the calls of functions for messages."))
	report(err)
	r.age, err = meter.Float64Histogram("postoffice.inbox.age", metric.WithUnit("s"),
		metric.WithDescription("Age of handled messages of an inbox when their last call began."), metric.WithExplicitBucketBoundaries(ageBounds...))
	report(err)
	r.attempts, err = meter.Int64Histogram("postoffice.inbox.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Calls until messages of an inbox were handled."), metric.WithExplicitBucketBoundaries(attemptBounds...))
	report(err)
	return r
}

// count counts an outcome.
func (r *receiving) count(e delivery.Event, outcome, failure string) {
	r.outcomes.Add(context.Background(), 1, r.labels.of(label{
		topic: topicOf(e.Topic), subscription: e.Name, key: outcomeKey, value: outcome, errorType: failure,
	}, newLabelled).add...)
}

// handled measures a call of a function.
func (r *receiving) handled(e delivery.Event) {
	failure := receivingError(e.Kind, e.TimedOut, e.Err)
	r.count(e, outcomeOf(e), failure)
	ctx := context.Background()
	labels := r.labels.of(label{topic: topicOf(e.Topic), subscription: e.Name, operation: processing, errorType: failure}, newLabelled)
	r.consumed.Add(ctx, 1, labels.add...)
	r.duration.Record(ctx, e.Duration.Seconds(), labels.record...)
	if e.Err == nil && e.Attempts > 0 {
		labels = r.labels.of(label{topic: topicOf(e.Topic), subscription: e.Name}, newLabelled)
		r.age.Record(ctx, e.Age.Seconds(), labels.record...)
		r.attempts.Record(ctx, int64(e.Attempts), labels.record...)
	}
}

// handle begins the span of a call of a function. It is linked to the publisher's
// span, if the message carries one.
func (r *receiving) handle(ctx context.Context, call delivery.HandleCall) (context.Context, func(error)) {
	start := r.spans.of(subscription{topicOf(call.Topic), call.Name}, newProcessSpan)
	options := start.options
	producer := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(call.Attributes)))
	if producer.IsValid() {
		options = append(options[:len(options):len(options)], trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	ctx, span := r.tracer.Start(ctx, start.name, options...)
	if call.Attempts > 0 && span.IsRecording() {
		span.SetAttributes(attemptsKey.Int(call.Attempts))
	}
	return ctx, func(err error) {
		if err != nil {
			fail(span, receivingError(delivery.KindOf(err), errors.Is(ctx.Err(), context.DeadlineExceeded), err))
		}
		span.End()
	}
}

// newProcessSpan returns the common part of a handler's spans.
func newProcessSpan(of subscription) *spanStart {
	made := &spanStart{name: processing}
	attributes := []attribute.KeyValue{system, semconv.MessagingOperationName(processing), semconv.MessagingOperationTypeProcess}
	if of.topic != "" {
		made.name += " " + of.topic
		attributes = append(attributes, semconv.MessagingDestinationName(of.topic))
	}
	if of.name != "" {
		attributes = append(attributes, semconv.MessagingDestinationSubscriptionName(of.name))
	}
	made.options = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attributes...)}
	return made
}

// outcomeOf returns the postoffice.outcome of a call of a function.
func outcomeOf(e delivery.Event) string {
	switch {
	case e.Kind == 0:
		return "handled"
	case e.Kind == delivery.Panicked:
		return "panicked"
	case e.Kind == delivery.Discarded:
		return "discarded"
	case e.TimedOut:
		return "timed_out"
	default:
		return "failed"
	}
}

// receivingError returns the error.type of a problem.
func receivingError(kind delivery.Kind, timedOut bool, err error) string {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*delivery.DecodeError](err); ok && kind != delivery.Panicked && kind != delivery.Discarded {
		kind = delivery.NotDecoded // also a message that was stored
	}
	switch kind {
	case delivery.Panicked:
		return "panic"
	case delivery.Discarded:
		return "discarded"
	case delivery.Refused:
		return "refused"
	case delivery.NotDecoded:
		return "not_decoded"
	case delivery.NotDeduplicated:
		return "not_deduplicated"
	case delivery.NotStored:
		return "not_stored"
	}
	if timedOut {
		return "timeout"
	}
	return errorType(err)
}
