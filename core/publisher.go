package core

import (
	"context"
	"net/http"
	"sync"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Options configures how an adapter's middleware handles requests. With the
// zero Options, the publisher of a request posts within the call.
type Options struct {
	// AfterResponse selects when messages are posted. Off posts them within the
	// call. Durable stores them within the call and posts them afterwards.
	// Memory queues them within the call and posts them afterwards. Defaults to
	// Off.
	AfterResponse Mode

	// Attributes returns attributes for every message of a request, such as a
	// request id. Attributes and metadata of the Publish call replace those of
	// the same name. With Config.MetadataInPayload they travel as metadata in
	// the payload. It is called once per request, at the first publish, and its
	// result is encoded then. Defaults to none.
	Attributes func(*http.Request) map[string]any

	// FlushOn decides, when the handler of a request has ended, whether its
	// queued messages are posted. If it returns false, the messages are dropped
	// and reported to Observer.Discarded: with [Succeeded], a handler that
	// panics or answers 5xx publishes nothing.
	//
	// FlushOn applies only to AfterResponse Memory; with another mode it has no
	// effect and the log warns. If it is set, messages wait in memory until the
	// handler ends. If memory has no capacity for a message, Publish returns
	// ErrNotAccepted. Defaults to nil: messages are posted whatever the
	// outcome, also while the handler runs.
	FlushOn func(Outcome) bool
}

// Publisher publishes on behalf of one request. Handlers get it from the
// request's context. It is safe for concurrent use, also after the request has
// ended. The methods of a nil Publisher return ErrNoPublisher.
type Publisher struct {
	client     *Client
	options    Options
	attributes func() *message.Attributes // nil for none

	mu    sync.Mutex
	ended bool
	held  []message.Batch // messages that wait for the end of the request
}

// newPublisher makes the publisher of a request.
func (c *Client) newPublisher(r *http.Request, options Options) *Publisher {
	p := &Publisher{client: c, options: options}
	if options.Attributes != nil {
		p.attributes = sync.OnceValue(func() *message.Attributes { return message.EncodeAttributes(options.Attributes(r)) })
	}
	if c != nil && options.FlushOn != nil && options.AfterResponse != Memory {
		c.events.log.Warn("flush on", "", "FlushOn decides nothing, since AfterResponse is not Memory: messages are accepted for good within the call")
	}
	return p
}

// base returns the attributes for every message of the request.
func (p *Publisher) base() *message.Attributes {
	if p == nil || p.attributes == nil {
		return nil
	}
	return p.attributes()
}

// mode returns when messages are posted; Off for a nil publisher.
func (p *Publisher) mode() Mode {
	if p == nil {
		return Off
	}
	return p.options.AfterResponse
}

// holds reports whether messages wait for the end of the request.
func (p *Publisher) holds() bool {
	if p.options.FlushOn == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended
}

// hold keeps messages until the request ends. It reports false if they do not
// wait for that.
func (p *Publisher) hold(b message.Batch) bool {
	if p.options.FlushOn == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	if p.held == nil {
		p.client.gate.stay() // within a call, so Stop does not miss it
	}
	p.held = append(p.held, b)
	return true
}

// end publishes or drops the held messages of the request, as Options.FlushOn
// decides.
func (p *Publisher) end(outcome Outcome) {
	p.mu.Lock()
	held := p.held
	p.held, p.ended = nil, true
	p.mu.Unlock()
	if held == nil {
		return
	}
	flush := true // also when FlushOn panics, so that no message is lost by mistake
	defer func() {
		defer p.client.gate.leave()
		queue := p.client.queue
		for i := range held {
			if flush {
				queue.Expose(&held[i])
				queue.Add(&held[i], false)
				continue
			}
			queue.ReleaseSafe(&held[i])
			emit(p.client.events.observer.Discarded, Event{Topic: held[i].Topic, Messages: len(held[i].Messages)})
		}
	}()
	flush = p.options.FlushOn(outcome)
}

// Publish is [Client.Publish] with the attributes of the request added.
func (p *Publisher) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publish(ctx, call{publisher: p, topic: topic, payload: payload, options: options})
}

// PublishBulk is [Client.PublishBulk] with the attributes of the request
// added.
func (p *Publisher) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publish(ctx, call{publisher: p, topic: topic, payloads: payloads, bulk: true, options: options})
}

// PublishTx is [Client.PublishTx] with the attributes of the request added.
func (p *Publisher) PublishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publish(ctx, call{publisher: p, topic: topic, payload: payload, tx: tx, inTx: true, options: options})
}

// ContextKey is the name under which adapters also store the publisher in the
// values of the framework's own context, if it has values.
const ContextKey = "postoffice.publisher"

type contextKey struct{}

// NewContext returns a context that carries the publisher. It is derived from
// ctx, which may be nil.
func NewContext(ctx context.Context, p *Publisher) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the publisher in the context and whether there is one. A
// nil context has none. It also finds the publisher in a framework's context
// that is used as a context.Context, such as *gin.Context.
func FromContext(ctx context.Context) (*Publisher, bool) {
	if typednil.Is(ctx) {
		return nil, false
	}
	if p, ok := ctx.Value(contextKey{}).(*Publisher); ok {
		return p, true
	}
	p, ok := ctx.Value(ContextKey).(*Publisher)
	return p, ok
}

// MustFromContext is like FromContext, but panics with ErrNoPublisher if there
// is no publisher, which means that the middleware is missing.
func MustFromContext(ctx context.Context) *Publisher {
	p, ok := FromContext(ctx)
	if !ok {
		panic(ErrNoPublisher)
	}
	return p
}
