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
// zero Options, the publisher of a request posts messages within the call.
type Options struct {
	// AfterResponse selects when messages are posted. Off posts them within the
	// call. Durable stores them within the call and posts them afterwards.
	// Memory queues them within the call and posts them afterwards. Defaults to
	// Off.
	AfterResponse Mode

	// Attributes returns attributes for every message of a request, such as a
	// request id. Attributes and metadata of the Publish call replace those
	// with the same name. With Config.MetadataInPayload they travel as metadata
	// in the payload. The function is called once per request, at the first
	// publish, and its result is encoded then. Defaults to none.
	Attributes func(*http.Request) map[string]any

	// FlushOn makes each request a unit of work: Publish and PublishBulk return
	// Held, and the messages wait until the response is about to start or the
	// handler returns. Then FlushOn decides by the status of the response.
	//
	// If FlushOn returns true, the messages are accepted together before the
	// first byte is sent. With Off they are posted, and stored if the server
	// does not accept them; with Durable they are stored in one commit; with
	// Memory they are queued. If FlushOn returns false or panics, or the
	// handler panics, they are dropped and reported to Observer.Discarded.
	// [Committed] and [Succeeded] can be used as FlushOn.
	//
	// If FlushOn returns true but the messages cannot be accepted, the HTTP
	// client gets the response of NotAccepted instead of the handler's. With
	// Durable, either all or none of the messages are accepted. With Off, some
	// may be delivered if server and outbox fail at the same time. Whatever the
	// handler has already committed is not undone: use [Client.PublishTx] or
	// [Client.WithTx] for messages that belong to a transaction. FlushOn does
	// not affect these.
	//
	// Held promises nothing: a crash before the response loses the messages,
	// but then the HTTP client has no response either. Once the response of the
	// handler has started, messages are accepted one by one, as without
	// FlushOn; after the response of NotAccepted, Publish returns its error.
	// Messages are not dropped when the HTTP client disconnects. After the
	// deadline of the request's context, messages are no longer accepted. If
	// memory has no capacity for a message (Batching.MaxMessages and MaxBytes),
	// Publish returns ErrNotAccepted.
	//
	// With Off and Durable, FlushOn requires Config.Outbox. Otherwise Register
	// and NewPublisher return ErrInvalidConfig, and so do the publishers of
	// Middleware. Defaults to nil: messages are accepted within each call.
	FlushOn func(Outcome) bool

	// NotAccepted writes the response to a request whose messages were not
	// accepted, instead of the handler's response. The header is reset to its
	// state before the handler ran. The error is the reason, such as
	// ErrNotAccepted; it does not contain payloads or credentials. NotAccepted
	// requires FlushOn. Defaults to 503 with Retry-After: 1, which is also the
	// response if NotAccepted writes nothing.
	NotAccepted func(http.ResponseWriter, *http.Request, error)
}

// check returns an error if a client cannot use the options.
func (o Options) check(c *Client) error {
	switch {
	case o.AfterResponse < Off || o.AfterResponse > Memory:
		return misplaced("Options.AfterResponse", "is %d, which is not a Mode", int(o.AfterResponse))
	case o.FlushOn != nil && o.AfterResponse != Memory && c.cfg.outbox == nil:
		return misplaced("Options.FlushOn", "requires Config.Outbox with AfterResponse %v, to store messages that the server does not accept", o.AfterResponse)
	case o.FlushOn == nil && o.NotAccepted != nil:
		return misplaced("Options.NotAccepted", "requires Options.FlushOn; without it, Publish returns the error")
	}
	return nil
}

// Publisher publishes on behalf of one request or one job. Handlers get it from
// the request's context, other code from [Client.NewPublisher]. It is safe for
// concurrent use, also after the request has ended. The methods of a nil
// Publisher return ErrNoPublisher.
type Publisher struct {
	client     *Client
	options    Options
	attributes func() *message.Attributes // nil for none
	unit       *unit                      // nil without Options.FlushOn
	fault      error                      // of the options
}

// newPublisher returns the publisher of a request; r is nil outside of
// requests.
func newPublisher(c *Client, r *http.Request, options Options) *Publisher {
	p := &Publisher{client: c, options: options}
	if attributes := options.Attributes; attributes != nil && r != nil {
		p.attributes = sync.OnceValue(func() *message.Attributes { return message.EncodeAttributes(attributes(r)) })
	}
	if c == nil {
		return p
	}
	if p.fault = options.check(c); p.fault != nil {
		c.events.log.Error("options", "", "invalid options of the middleware: nothing is published", "error", p.fault)
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

// NewPublisher returns a publisher for use outside of requests: in workers,
// cron jobs, gRPC methods and message handlers. It publishes in the mode of
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
// outcome, the messages are accepted together, with the context ctx. The
// Receipt has the state of all messages and the ids of the messages in the
// outbox. If the messages are dropped, its state is Unknown. End returns the
// errors of [Client.Publish]; after an error none of the messages is accepted,
// except as described for Options.FlushOn.
//
// Stop drops the messages; a later End that would accept them returns
// ErrClosed.
//
// After End, messages of the publisher are accepted one by one, or fail with
// the error of End. Another End has no effect and returns the state Delivered,
// as does the End of a publisher without messages or without Options.FlushOn.
// The middleware ends the publisher of a request; End ends it earlier.
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

// base returns the attributes that every message of the request has.
func (p *Publisher) base() *message.Attributes {
	if p == nil || p.attributes == nil {
		return nil
	}
	return p.attributes()
}

// mode returns the mode of the publisher; Off for a nil publisher.
func (p *Publisher) mode() Mode {
	if p == nil {
		return Off
	}
	return p.options.AfterResponse
}

// work returns the unit of work that holds messages; nil if there is none.
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
// ctx, or from context.Background if ctx is nil.
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
