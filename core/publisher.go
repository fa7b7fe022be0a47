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

	// FlushOn makes each request a unit of work: Publish and PublishBulk return
	// Held, and the messages wait until the response is about to start, or the
	// handler returns. Then FlushOn decides with the status of the response. If
	// it returns true, the messages are accepted together before the first byte
	// is sent: with Off they are posted, and stored if the server does not
	// accept them; with Durable they are stored in one commit; with Memory they
	// are queued. If it returns false, or panics, or the handler panics, they
	// are dropped and reported to Observer.Discarded. [Committed] and
	// [Succeeded] are such functions.
	//
	// If the messages should be accepted and cannot be, the client gets the
	// response of NotAccepted instead of the handler's. All or none are
	// accepted with Durable; with Off, part of them may be delivered if server
	// and outbox fail at the same time. What the handler itself has committed is
	// not undone: use [Client.PublishTx] or [Client.WithTx] for messages that
	// belong to a transaction. FlushOn neither holds nor drops these.
	//
	// Held promises nothing: a crash before the response loses the messages,
	// and the client has no response then. When the response of the handler has
	// started, messages are accepted one by one, as without FlushOn; after that
	// of NotAccepted, Publish returns its error. A client that
	// disconnects drops nothing; after the deadline of the request's context no
	// acceptance begins. If memory has no capacity for a message
	// (Batching.MaxMessages and MaxBytes), Publish returns ErrNotAccepted.
	//
	// With Off and Durable, FlushOn requires Config.Outbox. Otherwise Register
	// and NewPublisher return ErrInvalidConfig, and so do the publishers of
	// Middleware. Defaults to nil: messages are accepted within each call.
	FlushOn func(Outcome) bool

	// NotAccepted writes the response to a request whose messages were not
	// accepted, in place of the response of the handler. The header is as it
	// was before the handler. The error is that of the messages, such as
	// ErrNotAccepted; it does not contain payloads or credentials. Defaults to
	// 503 with Retry-After: 1, also if NotAccepted writes nothing. It requires
	// FlushOn.
	NotAccepted func(http.ResponseWriter, *http.Request, error)
}

// check returns an error if a client cannot use the options.
func (o Options) check(c *Client) error {
	switch {
	case o.AfterResponse < Off || o.AfterResponse > Memory:
		return misplaced("Options.AfterResponse", "is %d, which is no Mode", int(o.AfterResponse))
	case o.FlushOn != nil && o.AfterResponse != Memory && c.cfg.outbox == nil:
		return misplaced("Options.FlushOn", "needs Config.Outbox with AfterResponse %v, to store what the server does not accept", o.AfterResponse)
	case o.FlushOn == nil && o.NotAccepted != nil:
		return misplaced("Options.NotAccepted", "needs Options.FlushOn: without it, Publish returns the error")
	}
	return nil
}

// Publisher publishes on behalf of one request or one job. Handlers get it from
// the request's context, and other code from [Client.NewPublisher]. It is safe
// for concurrent use, also after the request has ended. The methods of a nil
// Publisher return ErrNoPublisher.
type Publisher struct {
	client     *Client
	options    Options
	attributes func() *message.Attributes // nil for none
	unit       *unit                      // nil without Options.FlushOn
	fault      error                      // of the options
}

// newPublisher makes the publisher of a request; r is nil outside of requests.
func newPublisher(c *Client, r *http.Request, options Options) *Publisher {
	p := &Publisher{client: c, options: options}
	if attributes := options.Attributes; attributes != nil && r != nil {
		p.attributes = sync.OnceValue(func() *message.Attributes { return message.EncodeAttributes(attributes(r)) })
	}
	if c == nil {
		return p
	}
	if p.fault = options.check(c); p.fault != nil {
		c.events.log.Error("options", "", "the middleware has invalid options: nothing is published", "error", p.fault)
		return p
	}
	if options.FlushOn != nil {
		p.unit = &unit{pipeline: c.pipeline, options: options}
		if r != nil {
			p.unit.request, p.unit.inCall = r.Context(), true
		}
	}
	return p
}

// NewPublisher returns a publisher outside of requests, for workers, cron jobs,
// gRPC methods and handlers of messages. It publishes in the mode of
// Options.AfterResponse. Options.Attributes and Options.NotAccepted are not
// called, because there is no request.
//
// With Options.FlushOn, the publisher is one unit of work, which ends with
// [Publisher.End]: create one for each job. Stop drops the messages of
// publishers that were never ended, and reports them to Observer.Discarded.
//
// The error is ErrInvalidConfig and names the invalid field.
func (c *Client) NewPublisher(options Options) (*Publisher, error) {
	if err := c.present(); err != nil {
		return nil, err
	}
	if err := options.check(c); err != nil {
		return nil, err
	}
	return newPublisher(c, nil, options), nil
}

// End ends a unit of work, see Options.FlushOn: if FlushOn returns true for the
// outcome, the messages are accepted together, in the context ctx. The Receipt
// has the state of all messages, and the ids of those in the outbox. If they are
// dropped, its state is Unknown. The errors are those of [Client.Publish]; none
// of the messages is accepted then, except as Options.FlushOn says.
//
// Stop drops the messages; a later End that would accept them returns ErrClosed.
//
// Afterwards, messages of the publisher are accepted one by one, or after an
// error fail with it. A further End
// has no effect, nor has that of a publisher without messages or without
// Options.FlushOn: the state is Delivered. The publisher of a request ends by
// itself; End ends it earlier.
func (p *Publisher) End(ctx context.Context, outcome Outcome) (Receipt, error) {
	switch {
	case p == nil:
		return Receipt{}, ErrNoPublisher
	case ctx == nil:
		return Receipt{}, invalid(fieldError("ctx", "is nil"))
	}
	if err := p.client.present(); err != nil {
		return Receipt{}, err
	}
	switch {
	case p.fault != nil:
		return Receipt{}, p.fault
	case p.unit == nil:
		return Receipt{State: Delivered}, nil
	}
	return p.unit.end(ctx, outcome)
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

// work returns the unit of work that holds messages; nil for none.
func (p *Publisher) work() *unit {
	if p == nil {
		return nil
	}
	return p.unit
}

// publish makes a call of the publisher.
func (p *Publisher) publish(ctx context.Context, k call) (Receipt, error) {
	if p == nil {
		return Receipt{}, ErrNoPublisher
	}
	if p.fault != nil {
		return Receipt{}, p.fault
	}
	k.publisher = p
	return p.client.publish(ctx, k)
}

// Publish is [Client.Publish] with the attributes of the request added.
func (p *Publisher) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return p.publish(ctx, call{topic: topic, payload: payload, options: options})
}

// PublishBulk is [Client.PublishBulk] with the attributes of the request
// added.
func (p *Publisher) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	return p.publish(ctx, call{topic: topic, payloads: payloads, bulk: true, options: options})
}

// PublishTx is [Client.PublishTx] with the attributes of the request added.
func (p *Publisher) PublishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return p.publish(ctx, call{topic: topic, payload: payload, tx: tx, inTx: true, options: options})
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
