package otelpo

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
)

// traces creates the spans of an Observer, and measures their durations.
type traces struct {
	tracer  trace.Tracer // nil for no spans
	metrics *metrics
}

// start begins a span; nil without a tracer. A batch span has the number of messages.
func (t *traces) start(ctx context.Context, start *spanStart, batch bool, messages int, more ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, nil
	}
	options := start.options
	if len(more) > 0 {
		options = slices.Concat(options, more)
	}
	ctx, span := t.tracer.Start(ctx, start.name, options...)
	if batch && span.IsRecording() {
		span.SetAttributes(semconv.MessagingBatchMessageCount(messages))
	}
	return ctx, span
}

// ownSpan marks the context of a call whose span is also that of its request.
type ownSpan struct{}

// publish begins the span of a call.
func (t *traces) publish(ctx context.Context, call core.PublishCall) (context.Context, func(core.Receipt, error)) {
	began := time.Now()
	topic := t.metrics.topic(topicOf(call.Topic))
	ctx, span := t.start(ctx, topic.span(publish), call.Bulk, call.Messages)
	if span != nil && !call.Bulk {
		ctx = context.WithValue(ctx, ownSpan{}, true)
	}
	return ctx, func(receipt core.Receipt, err error) {
		reported, failure := topic, errorType(err)
		if errors.Is(err, core.ErrInvalidMessage) {
			reported = t.metrics.topic("") // the topic itself may be invalid
		}
		t.metrics.took(ctx, publishing, reported, began, failure)
		if span == nil {
			return
		}
		switch {
		case err != nil:
			fail(span, failure)
		case receipt.State != core.Delivered && span.IsRecording():
			span.SetAttributes(semconv.MessagingOperationTypeCreate, stateKey.String(receipt.State.String()))
			if !call.Bulk && len(receipt.IDs) == 1 {
				span.SetAttributes(semconv.MessagingMessageID(receipt.IDs[0]))
			}
		}
		span.End()
	}
}

// send begins the span of a request. For a message posted within its call it is the
// span of the call; if the request fails, it gets a span of its own.
func (t *traces) send(ctx context.Context, call core.SendCall) (context.Context, func(error)) {
	began := time.Now()
	topic := t.metrics.topic(call.Topic)
	var span trace.Span
	own := ctx.Value(ownSpan{}) != nil
	if !own {
		ctx, span = t.start(ctx, topic.span(post), call.Messages > 1, call.Messages, linksTo(call.Origins)...)
	}
	return ctx, func(err error) {
		failure := errorType(err)
		t.metrics.took(ctx, posting, topic, began, failure)
		if own && err != nil {
			_, span = t.start(ctx, topic.span(post), false, 1, trace.WithTimestamp(began))
		}
		if span == nil {
			return
		}
		if err != nil {
			fail(span, failure)
		}
		span.End()
	}
}

// fail marks a span as failed, without the text of the error, which may come from the
// server.
func fail(span trace.Span, failure string) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(failure))
	span.SetStatus(codes.Error, failure)
}

// origin returns the span of the call, for the request that posts its messages later;
// nil for a span that is not sampled, to which a link is of no use.
func origin(ctx context.Context) any {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() && span.IsSampled() {
		return &span
	}
	return nil
}

// linksTo returns links to the spans of calls.
func linksTo(origins []any) []trace.SpanStartOption {
	var links []trace.Link
	for _, origin := range origins {
		if span, ok := origin.(*trace.SpanContext); ok {
			links = append(links, trace.Link{SpanContext: *span})
		}
	}
	if links == nil {
		return nil
	}
	return []trace.SpanStartOption{trace.WithLinks(links...)}
}
