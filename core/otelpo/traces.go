package otelpo

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core"
)

// traces makes the spans of an Observer, and measures what they span.
type traces struct {
	tracer  trace.Tracer // nil for no spans
	metrics *metrics
}

// start begins a span, nil for none; batch tells a span of many messages.
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

// ownSpan marks the context of a call whose span is that of its request, too.
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
		told, failure := topic, errorType(err)
		if errors.Is(err, core.ErrInvalidMessage) {
			told = t.metrics.topic("") // perhaps it is the topic that is invalid
		}
		t.metrics.took(ctx, publishing, told, began, failure)
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

// send begins the span of a request. That of a message within its call is the
// span of the call, unless it fails: then it gets one of its own.
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

// fail marks a span as failed. The text of the error stays out: it may come
// from the server.
func fail(span trace.Span, failure string) {
	if !span.IsRecording() {
		return
	}
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

// linksTo makes the links to the spans of calls, if there are any.
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
