package otelpo

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/postoffice-go/postoffice/core"
)

// WithPropagation adds the trace in ctx to the message, so that consumers can
// go on with it: the attributes "traceparent" and "tracestate" of W3C Trace
// Context. The parent that consumers see is the span in ctx, that of the
// caller. Without a span in ctx it adds nothing.
//
// It costs: messages share a request only if their attributes are equal, and
// the trace is different for every request of an app. With AfterResponse, and
// from the outbox, such messages are posted by themselves or with the others
// of their request, instead of hundreds at a time. Everybody who gets the
// message sees the ids of the trace.
func WithPropagation(ctx context.Context) core.PublishOption {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	attributes := make(map[string]any, len(carrier))
	for name, value := range carrier {
		attributes[name] = value
	}
	return core.WithAttributes(attributes)
}

// Extract returns a context with the trace that [WithPropagation] has put into
// a message's attributes or metadata: spans that begin in it are children of the
// publisher's. It replaces a span that ctx has. Without a valid trace in the
// attributes it returns ctx. It is made for consumers:
//
//	delivery.WithContext(otelpo.Extract)
func Extract(ctx context.Context, attributes map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(attributes))
}
