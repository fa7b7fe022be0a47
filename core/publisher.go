package core

import (
	"context"
	"net/http"
	"sync"
)

// Mode says when the messages of a request are posted.
type Mode int

// Off posts each message within the call that publishes it.
const Off Mode = 0

// Options says how an adapter's middleware treats requests. The zero Options
// gives every request a publisher that posts at once.
type Options struct {
	// AfterResponse says when messages are posted. Defaults to Off.
	AfterResponse Mode
	// Attributes makes attributes that every message of a request gets, such
	// as a request id; those of the Publish call win over them. It is called
	// once for a request, when it first publishes. Defaults to none.
	Attributes func(*http.Request) map[string]any
}

// Publisher publishes on behalf of one request. Handlers find it in the
// request's context. It is safe for concurrent use, and may be used after
// the request has ended. The methods of a nil Publisher return
// ErrNoPublisher.
type Publisher struct {
	client     *Client
	attributes func() map[string]any
}

// Publish is [Client.Publish] with the attributes of the request added.
func (p *Publisher) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publish(ctx, topic, payload, p.attributes(), options)
}

// PublishBulk is [Client.PublishBulk] with the attributes of the request
// added.
func (p *Publisher) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publishBulk(ctx, topic, payloads, p.attributes(), options)
}

// BeginRequest makes the publisher of a request and puts it in a context
// made from ctx, which is to become the context of the request. The function
// it returns is to be deferred by the middleware, so that it runs when the
// handler is done, also by a panic. It is for authors of adapters.
func (c *Client) BeginRequest(ctx context.Context, r *http.Request, options Options) (context.Context, func()) {
	p := &Publisher{client: c, attributes: func() map[string]any { return nil }}
	if options.Attributes != nil {
		p.attributes = sync.OnceValue(func() map[string]any { return options.Attributes(r) })
	}
	return NewContext(ctx, p), func() {}
}

// ContextKey is the name under which adapters also put the publisher into
// the values of the framework's own context, where there are such.
const ContextKey = "postoffice.publisher"

type contextKey struct{}

// NewContext returns a context with the publisher in it.
func NewContext(ctx context.Context, p *Publisher) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the publisher in the context, and whether there is
// one. It also finds the publisher in a framework's context that is used as
// a context.Context, as *gin.Context can be.
func FromContext(ctx context.Context) (*Publisher, bool) {
	if p, ok := ctx.Value(contextKey{}).(*Publisher); ok {
		return p, true
	}
	p, ok := ctx.Value(ContextKey).(*Publisher)
	return p, ok
}

// MustFromContext is FromContext that panics with ErrNoPublisher when there
// is none: the middleware is missing.
func MustFromContext(ctx context.Context) *Publisher {
	p, ok := FromContext(ctx)
	if !ok {
		panic(ErrNoPublisher)
	}
	return p
}
