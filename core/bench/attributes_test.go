package bench

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core"
)

// attributes says which attributes messages have.
type attributes string

const (
	// bare messages have none, and the callers one publisher each.
	bare attributes = "bare"
	// usual messages have two that are the same for all, set by WithAttribute.
	usual attributes = "usual"
	// mapped messages have the same as usual ones, set by WithAttributes.
	mapped attributes = "mapped"
	// identified messages have two that are the same for all, and an id each, which
	// travels in the payload.
	identified attributes = "ids"
	// ownAttributes messages have two, of which one differs from caller to
	// caller.
	ownAttributes attributes = "own"
	// uniqueAttributes messages have two, of which one differs from message to
	// message.
	uniqueAttributes attributes = "unique"
)

// Names of attributes.
const (
	tenant = "tenant"
	source = "source"
)

// options returns the options that give a worker's i-th message its attributes.
func (a attributes) options(worker, i int) []core.PublishOption {
	switch a {
	case usual:
		return []core.PublishOption{core.WithAttribute(tenant, "acme"), core.WithAttribute(source, "web")}
	case identified:
		return append(usual.options(worker, i), core.WithMessageID())
	case mapped:
		return []core.PublishOption{core.WithAttributes(map[string]any{tenant: "acme", source: "web"})}
	case ownAttributes:
		return []core.PublishOption{core.WithAttribute(tenant, "acme"), core.WithAttribute(source, strconv.Itoa(worker))}
	case uniqueAttributes:
		return []core.PublishOption{core.WithAttribute(tenant, "acme"), core.WithAttribute(source, strconv.Itoa(i))}
	default:
		return nil
	}
}

// byHand are the attributes of a worker's i-th message as the server gets them.
func (a attributes) byHand(worker, i int) map[string]string {
	switch a {
	case usual, mapped, identified:
		return map[string]string{tenant: "acme", source: "web"}
	case ownAttributes:
		return map[string]string{tenant: "acme", source: strconv.Itoa(worker)}
	case uniqueAttributes:
		return map[string]string{tenant: "acme", source: strconv.Itoa(i)}
	default:
		return map[string]string{}
	}
}

// caller publishes as handlers do: each message with the publisher of a request
// of its own. Bare messages have one publisher for all.
type caller struct {
	client     *core.Client
	request    *http.Request
	mode       core.Options
	attributes attributes
	worker     int
	all        *core.Publisher

	// The arguments and results of a call are fields, so that handing them to
	// the handler allocates nothing.
	handler func(http.ResponseWriter, *http.Request) error
	topic   string
	i       int
	receipt core.Receipt
	err     error
}

func newCaller(tb testing.TB, client *core.Client, mode core.Mode, attributes attributes, worker int) *caller {
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "/", nil)
	assert.NoError(tb, err)
	c := &caller{client: client, request: request, mode: core.Options{AfterResponse: mode}, attributes: attributes, worker: worker, topic: topic}
	c.handler = func(_ http.ResponseWriter, r *http.Request) error {
		c.publishWith(r.Context(), core.MustFromContext(r.Context()))
		return nil
	}
	if attributes == bare {
		assert.NoError(tb, client.Serve(nil, request, c.mode, func(_ http.ResponseWriter, r *http.Request) error {
			c.all = core.MustFromContext(r.Context())
			return nil
		}))
	}
	return c
}

// publish publishes the i-th message.
func (c *caller) publish(i int) (core.Receipt, error) {
	c.i = i
	if c.all != nil {
		c.publishWith(c.request.Context(), c.all)
		return c.receipt, c.err
	}
	if err := c.client.Serve(nil, c.request, c.mode, c.handler); err != nil {
		return core.Receipt{}, err
	}
	return c.receipt, c.err
}

func (c *caller) publishWith(ctx context.Context, p *core.Publisher) {
	c.receipt, c.err = p.Publish(ctx, c.topic, newOrder(c.i), c.attributes.options(c.worker, c.i)...)
}
