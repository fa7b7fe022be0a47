package adaptertest

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// publisherTests check that handlers find the publisher, and how it publishes.
var publisherTests = []test{
	{"IsVisibleEverywhere", inEachWay(isVisibleEverywhere)},
	{"Publishes", inEachWay(publishes)},
	{"AddsAttributes", inEachWay(addsAttributes)},
	{"AttributesSeeTheRequest", inEachWay(attributesSeeTheRequest)},
	{"AttributesAreMadeOncePerRequest", inEachWay(attributesAreMadeOnce)},
	{"AttributesAreNotMadeForNothing", inEachWay(attributesAreNotMadeForNothing)},
	{"IsNilWithoutMiddleware", isNilWithoutMiddleware},
	{"KeepsEarlierContext", inEachWay(keepsEarlierContext)},
	{"ClientsDoNotMix", inEachWay(clientsDoNotMix)},
}

// attributesOf decodes a message's attributes.
func attributesOf(t *testing.T, message postofficetest.Message) map[string]string {
	t.Helper()
	attributes := map[string]string{}
	require.NoError(t, json.Unmarshal(message.Attributes, &attributes))
	return attributes
}

func isVisibleEverywhere(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	called := false
	app := serve(t, adapter.New(App{Client: w.newClient(t, server), Options: w.options, Handler: func(call Call) error {
		called = true
		p := call.Publisher()
		if !assert.NotNil(t, p, "by the adapter's accessor") {
			return nil
		}
		inRequest, ok := core.FromContext(call.Request.Context())
		assert.True(t, ok, "in the request's context")
		assert.Same(t, p, inRequest, "in the request's context")
		if call.Context != nil {
			inNative, ok := core.FromContext(call.Context)
			assert.True(t, ok, "in the framework's context")
			assert.Same(t, p, inNative, "in the framework's context")
			assert.Same(t, p, call.Context.Value(core.ContextKey), "under core.ContextKey")
		}
		return nil
	}}))
	app.get(t)
	assert.True(t, called, "the handler was called")
}

func publishes(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	store := memory.New()
	client := w.newClient(t, server, func(config *core.Config) { config.Outbox = store })
	app := serve(t, adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		receipt, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{"n": 1})
		assert.NoError(t, err)
		assert.Equal(t, w.state, receipt.State)
		receipt, err = call.Publisher().PublishBulk(call.Request.Context(), topic, []any{map[string]int{"n": 2}, map[string]int{"n": 3}})
		assert.NoError(t, err)
		assert.Equal(t, w.state, receipt.State)
		if w.state == core.Stored {
			assert.Len(t, receipt.IDs, 2)
			assert.Subset(t, left(t, store), receipt.IDs, "stored when the call returns")
		}
		return nil
	}}))
	app.get(t)
	var payloads []string
	for _, message := range w.delivered(t, client, server, 3) {
		payloads = append(payloads, string(message.Payload))
		assert.JSONEq(t, `{}`, string(message.Attributes))
	}
	assert.ElementsMatch(t, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, payloads)
	require.NoError(t, client.Stop(soon(t)))
	assert.Empty(t, left(t, store), "delivered messages are not in the outbox")
	assert.Len(t, server.Messages(), 3, "each message once")
}

func addsAttributes(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	options := w.options
	options.Attributes = func(r *http.Request) map[string]any {
		return map[string]any{"id": r.Header.Get("X-Request-Id"), "from": "request"}
	}
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{}, core.WithAttribute("from", "call"))
		assert.NoError(t, err)
		_, err = call.Publisher().PublishBulk(call.Request.Context(), topic, []any{map[string]int{}})
		assert.NoError(t, err)
		return nil
	}}))
	app.get(t, "X-Request-Id", "r-1")
	var attributes []map[string]string
	for _, message := range w.delivered(t, client, server, 2) {
		attributes = append(attributes, attributesOf(t, message))
	}
	assert.ElementsMatch(t, []map[string]string{
		{"id": "r-1", "from": "call"}, // the attributes of the call win
		{"id": "r-1", "from": "request"},
	}, attributes)
}

// earlierKey is the key of a context value that an earlier middleware sets.
type earlierKey struct{}

// earlier sets the context value.
func earlier(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), earlierKey{}, "earlier"))
}

func attributesSeeTheRequest(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	options := w.withAttribute("saw", func(r *http.Request) any {
		value, _ := r.Context().Value(earlierKey{}).(string)
		return r.Method + " " + r.URL.Path + " " + value
	})
	client := w.newClient(t, server)
	app := serve(t, adapter.New(App{Client: client, Options: options, Before: earlier, Handler: func(call Call) error {
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		return nil
	}}))
	app.get(t)
	messages := w.delivered(t, client, server, 1)
	assert.Equal(t, "GET "+Path+" earlier", attributesOf(t, messages[0])["saw"])
}

func attributesAreMadeOnce(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	var made atomic.Int32
	options := w.withAttribute("made", func(*http.Request) any { return made.Add(1) })
	client := w.newClient(t, server)
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		for range 3 {
			_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
			assert.NoError(t, err)
		}
		return nil
	}}))
	app.get(t)
	app.get(t)
	var values []string
	for _, message := range w.delivered(t, client, server, 6) {
		values = append(values, attributesOf(t, message)["made"])
	}
	assert.ElementsMatch(t, []string{"1", "1", "1", "2", "2", "2"}, values)
}

func attributesAreNotMadeForNothing(t *testing.T, adapter Adapter, w way) {
	var made atomic.Int32
	options := w.withAttribute("made", func(*http.Request) any { return made.Add(1) })
	app := serve(t, adapter.New(App{Client: w.newClient(t, newServer(t)), Options: options, Handler: func(call Call) error {
		assert.NotNil(t, call.Publisher())
		return nil
	}}))
	app.get(t)
	assert.Zero(t, made.Load())
}

func isNilWithoutMiddleware(t *testing.T, adapter Adapter) {
	app := serve(t, adapter.New(App{Handler: func(call Call) error {
		p := call.Publisher()
		assert.Nil(t, p)
		_, err := p.Publish(call.Request.Context(), topic, map[string]int{})
		assert.ErrorIs(t, err, core.ErrNoPublisher)
		_, err = p.PublishBulk(call.Request.Context(), topic, []any{map[string]int{}})
		assert.ErrorIs(t, err, core.ErrNoPublisher)
		_, ok := core.FromContext(call.Request.Context())
		assert.False(t, ok, "in the request's context")
		if call.Context != nil {
			_, ok = core.FromContext(call.Context)
			assert.False(t, ok, "in the framework's context")
		}
		return nil
	}}))
	app.get(t)
}

func keepsEarlierContext(t *testing.T, adapter Adapter, w way) {
	app := serve(t, adapter.New(App{Client: w.newClient(t, newServer(t)), Options: w.options, Before: earlier, Handler: func(call Call) error {
		assert.Equal(t, "earlier", call.Request.Context().Value(earlierKey{}))
		assert.NotNil(t, call.Request.Context().Value(http.ServerContextKey), "a value that net/http has set")
		assert.NotNil(t, call.Publisher())
		return nil
	}}))
	app.get(t)
}

func clientsDoNotMix(t *testing.T, adapter Adapter, w way) {
	names := []string{"first", "second"}
	servers := map[string]*postofficetest.Server{}
	clients := map[string]*core.Client{}
	apps := map[string]*site{}
	for _, name := range names {
		servers[name] = newServer(t)
		clients[name] = w.newClient(t, servers[name])
		options := w.withAttribute("client", func(*http.Request) any { return name })
		apps[name] = serve(t, adapter.New(App{Client: clients[name], Options: options, Handler: func(call Call) error {
			_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]string{"client": name})
			assert.NoError(t, err)
			return nil
		}}))
	}
	for range 3 {
		for _, name := range names {
			apps[name].get(t)
		}
	}
	for _, name := range names {
		for _, message := range w.delivered(t, clients[name], servers[name], 3) {
			assert.JSONEq(t, `{"client":"`+name+`"}`, string(message.Payload))
			assert.Equal(t, name, attributesOf(t, message)["client"])
		}
	}
}
