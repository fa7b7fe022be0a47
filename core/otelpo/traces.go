package otelpo

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
)

// traces makes the spans of an Observer, and measures what they span.
type traces struct {
	tracer  trace.Tracer
	starts  spanStarts
	metrics *metrics
}

// publish begins the span of a call.
func (t *traces) publish(ctx context.Context, call core.PublishCall) (context.Context, func(core.Receipt, error)) {
	began := time.Now()
	topic := topicOf(call.Topic)
	start := t.starts.of(spanLabel{publishing, topic, call.Bulk})
	ctx, span := t.tracer.Start(ctx, start.name, start.options...)
	if call.Bulk && span.IsRecording() {
		span.SetAttributes(semconv.MessagingBatchMessageCount(call.Messages))
	}
	measuring := context.WithoutCancel(ctx)
	return ctx, func(receipt core.Receipt, err error) {
		if errors.Is(err, core.ErrInvalidMessage) {
			topic = "" // perhaps it is the topic that is invalid
		}
		failure := errorType(err)
		t.metrics.took(measuring, publishing, topic, began, failure)
		if span.IsRecording() {
			switch {
			case err != nil:
				fail(span, failure)
			case receipt.State != core.Delivered:
				span.SetAttributes(stateKey.String(receipt.State.String()))
				if !call.Bulk && len(receipt.IDs) == 1 {
					span.SetAttributes(semconv.MessagingMessageID(receipt.IDs[0]))
				}
			}
		}
		span.End()
	}
}

// send begins the span of a request.
func (t *traces) send(ctx context.Context, call core.SendCall) (context.Context, func(error)) {
	began := time.Now()
	start := t.starts.of(spanLabel{posting, call.Topic, call.Messages > 1})
	options := start.options
	if links := linksTo(call.Origins); links != nil {
		options = append(options[:len(options):len(options)], trace.WithLinks(links...))
	}
	ctx, span := t.tracer.Start(ctx, start.name, options...)
	if call.Messages > 1 && span.IsRecording() {
		span.SetAttributes(semconv.MessagingBatchMessageCount(call.Messages))
	}
	measuring := context.WithoutCancel(ctx)
	return ctx, func(err error) {
		failure := errorType(err)
		t.metrics.took(measuring, posting, call.Topic, began, failure)
		if err != nil && span.IsRecording() {
			fail(span, failure)
		}
		span.End()
	}
}

// fail marks a span as failed. The text of the error stays out: it may come
// from the server.
func fail(span trace.Span, failure string) {
	span.SetAttributes(semconv.ErrorTypeKey.String(failure))
	span.SetStatus(codes.Error, failure)
}

// origin is the span of the call, for those that post its messages later.
// Spans that are not sampled are no use to link to.
func origin(ctx context.Context) any {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() && span.IsSampled() {
		return &span
	}
	return nil
}

// linksTo makes the links to the spans of calls.
func linksTo(origins []any) []trace.Link {
	var links []trace.Link
	for _, origin := range origins {
		if span, ok := origin.(*trace.SpanContext); ok {
			links = append(links, trace.Link{SpanContext: *span})
		}
	}
	return links
}
