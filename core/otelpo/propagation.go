package otelpo

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/postoffice-go/postoffice/core"
)

// WithPropagation adds the trace in ctx to the message's metadata, so that
// consumers can continue it: the entries "traceparent" and "tracestate" of W3C
// Trace Context. The parent that consumers see is the caller's span, the one in ctx.
// Without a span in ctx it adds nothing. All consumers of the message see the ids of
// the trace.
//
// Set Config.MetadataInPayload with it. Otherwise the entries are attributes:
// messages share a request only if their attributes are equal, and every request of
// an app has another trace. With AfterResponse, and from the outbox, such messages are
// posted alone or with the others of their request, instead of hundreds at a time.
func WithPropagation(ctx context.Context) core.PublishOption {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	options := make([]core.PublishOption, 0, len(carrier))
	for name, value := range carrier {
		options = append(options, core.WithMetadata(name, value))
	}
	return joined(options)
}

// joined returns an option that applies several. O is core.PublishOption and T
// the type of its argument, which core does not export.
func joined[O ~func(T) error, T any](options []O) O {
	return func(to T) error {
		for _, option := range options {
			if err := option(to); err != nil {
				return err
			}
		}
		return nil
	}
}

// Extract returns a context with the trace that [WithPropagation] added to a message's
// attributes or metadata: spans that begin in it are children of the publisher's. It
// replaces a span in ctx. Without a valid trace in the attributes it returns ctx. It is
// for consumers:
//
//	delivery.WithContext(otelpo.Extract)
func Extract(ctx context.Context, attributes map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(attributes))
}
