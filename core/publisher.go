package core

import (
	"context"
	"net/http"
	"sync"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Options says how an adapter's middleware treats requests. The zero Options
// gives every request a publisher that posts at once.
type Options struct {
	// AfterResponse says when messages are posted: Off, within the call;
	// Durable, stored within the call and posted afterwards; Memory, queued
	// within the call and posted afterwards. Defaults to Off.
	AfterResponse Mode

	// Attributes makes attributes that every message of a request gets, such
	// as a request id; those of the Publish call win over them. It is called
	// once for a request, when it first publishes. Defaults to none.
	Attributes func(*http.Request) map[string]any

	// FlushOn decides, when the handler of a request has ended, whether the
	// messages that it has queued are posted. Those of a request for which
	// it returns false are dropped, which Observer.Discarded tells: with
	// [Succeeded], a handler that panics or answers 5xx publishes nothing.
	//
	// It applies to AfterResponse Memory alone; with another mode the log warns
	// that it decides nothing. With it, messages wait in memory until the
	// handler ends, and those that memory has no room for are refused with
	// ErrNotAccepted. Defaults to nil: messages are posted whatever the outcome,
	// also while the handler runs.
	FlushOn func(Outcome) bool
}

// Publisher publishes on behalf of one request. Handlers find it in the
// request's context. It is safe for concurrent use, and may be used after
// the request has ended. The methods of a nil Publisher return
// ErrNoPublisher.
type Publisher struct {
	client     *Client
	options    Options
	attributes func() map[string]any // nil for none

	mu      sync.Mutex
	ended   bool
	outcome *Outcome // nil until the handler has returned
	held    []batch  // what waits for the end of the request
}

// base returns the attributes that every message of the request gets.
func (p *Publisher) base() map[string]any {
	if p == nil || p.attributes == nil {
		return nil
	}
	return p.attributes()
}

// mode returns when messages are posted; those of no request at once.
func (p *Publisher) mode() Mode {
	if p == nil {
		return Off
	}
	return p.options.AfterResponse
}

// holds tells whether messages wait for the end of the request.
func (p *Publisher) holds() bool {
	if p.options.FlushOn == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended
}

// hold keeps messages until the request ends, if they are to wait for that.
func (p *Publisher) hold(b batch) bool {
	if p.options.FlushOn == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	if p.held == nil {
		p.client.inFlight.Add(1) // within a call, so Stop does not miss it
	}
	p.held = append(p.held, b)
	return true
}

// end hands over, or drops, what the request has held back.
func (p *Publisher) end() {
	p.mu.Lock()
	held := p.held
	p.held, p.ended = nil, true
	outcome := Outcome{Panicked: true}
	if p.outcome != nil {
		outcome = *p.outcome
	}
	p.mu.Unlock()
	if held == nil {
		return
	}
	flush := true // also when FlushOn panics: nothing is lost by mistake
	defer func() {
		defer p.client.leave()
		for _, b := range held {
			if flush {
				p.client.batcher.expose(b)
				p.client.batcher.add(b, nil)
				continue
			}
			p.client.batcher.releaseSafe(b)
			emit(p.client.cfg.observer.Discarded, Event{Topic: b.topic, Messages: len(b.payloads)})
		}
	}()
	flush = p.options.FlushOn(outcome)
}

// Publish is [Client.Publish] with the attributes of the request added.
func (p *Publisher) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publish(ctx, topic, payload, p, options)
}

// PublishBulk is [Client.PublishBulk] with the attributes of the request
// added.
func (p *Publisher) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publishBulk(ctx, topic, payloads, p, options)
}

// PublishTx is [Client.PublishTx] with the attributes of the request added.
func (p *Publisher) PublishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, options ...PublishOption) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	return p.client.publishTx(ctx, tx, topic, payload, p, options)
}

// BeginRequest makes the publisher of a request and puts it in a context
// made from ctx, which is to become the context of the request. The function
// it returns is to be deferred by the middleware, so that it runs when the
// handler is done, also by a panic; it does not block. When the handler has
// returned, the middleware calls [EndRequest] first. Where the handler gets a
// copy of the request, the middleware also defers [HandBack]. It is for authors
// of adapters.
func (c *Client) BeginRequest(ctx context.Context, r *http.Request, options Options) (context.Context, func()) {
	p := &Publisher{client: c, options: options}
	if c == nil { // the methods of the publisher tell
		return NewContext(ctx, p), func() {}
	}
	if options.Attributes != nil {
		p.attributes = sync.OnceValue(func() map[string]any { return options.Attributes(r) })
	}
	if options.FlushOn == nil {
		return NewContext(ctx, p), func() {}
	}
	if options.AfterResponse != Memory {
		c.log.warn("flush on", "", "FlushOn decides nothing, since AfterResponse is not Memory: messages are accepted for good within the call")
	}
	return NewContext(ctx, p), p.end
}

// EndRequest tells the publisher in a context of BeginRequest that the
// handler has returned, and with what status. Zero counts as 200, which is
// what net/http answers for a handler that sets none, and so does a status
// below 200 that is no final one. Without it the handler counts as panicked.
// Only Options.FlushOn asks for it. It is for authors of adapters.
func EndRequest(ctx context.Context, status int) {
	p, ok := FromContext(ctx)
	if !ok || p == nil || p.options.FlushOn == nil {
		return
	}
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		status = http.StatusOK
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcome = &Outcome{Status: status}
}

// ContextKey is the name under which adapters also put the publisher into
// the values of the framework's own context, where there are such.
const ContextKey = "postoffice.publisher"

type contextKey struct{}

// NewContext returns a context with the publisher in it, made from ctx, which
// may be nil.
func NewContext(ctx context.Context, p *Publisher) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the publisher in the context, and whether there is
// one; there is none in a nil context. It also finds the publisher in a framework's context that is used as
// a context.Context, as *gin.Context can be.
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

// MustFromContext is FromContext that panics with ErrNoPublisher when there
// is none: the middleware is missing.
func MustFromContext(ctx context.Context) *Publisher {
	p, ok := FromContext(ctx)
	if !ok {
		panic(ErrNoPublisher)
	}
	return p
}
