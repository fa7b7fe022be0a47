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
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// publisherTests check that handlers find the publisher, and what it does.
var publisherTests = []test{
	{"IsVisibleEverywhere", isVisibleEverywhere},
	{"Publishes", publishes},
	{"AddsAttributes", addsAttributes},
	{"AttributesSeeTheRequest", attributesSeeTheRequest},
	{"AttributesAreMadeOncePerRequest", attributesAreMadeOnce},
	{"AttributesAreNotMadeForNothing", attributesAreNotMadeForNothing},
	{"IsNilWithoutMiddleware", isNilWithoutMiddleware},
	{"KeepsEarlierContext", keepsEarlierContext},
	{"ClientsDoNotMix", clientsDoNotMix},
}

// withAttribute makes Options that add one attribute, made from a request.
func withAttribute(name string, value func(*http.Request) any) core.Options {
	return core.Options{Attributes: func(r *http.Request) map[string]any {
		return map[string]any{name: value(r)}
	}}
}

// attributesOf decodes a message's attributes.
func attributesOf(t *testing.T, message postofficetest.Message) map[string]string {
	t.Helper()
	attributes := map[string]string{}
	require.NoError(t, json.Unmarshal(message.Attributes, &attributes))
	return attributes
}

func isVisibleEverywhere(t *testing.T, adapter Adapter) {
	server := newServer(t)
	called := false
	app := serve(t, adapter.New(App{Client: newClient(t, server), Handler: func(call Call) error {
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

func publishes(t *testing.T, adapter Adapter) {
	server := newServer(t)
	app := serve(t, adapter.New(App{Client: newClient(t, server), Handler: func(call Call) error {
		receipt, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{"n": 1})
		assert.NoError(t, err)
		assert.Equal(t, core.Delivered, receipt.State)
		_, err = call.Publisher().PublishBulk(call.Request.Context(), topic, []any{map[string]int{"n": 2}, map[string]int{"n": 3}})
		assert.NoError(t, err)
		return nil
	}}))
	app.get(t)
	var payloads []string
	for _, message := range server.MessagesOf(topic) {
		payloads = append(payloads, string(message.Payload))
		assert.JSONEq(t, `{}`, string(message.Attributes))
	}
	assert.Equal(t, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, payloads)
}

func addsAttributes(t *testing.T, adapter Adapter) {
	server := newServer(t)
	options := core.Options{Attributes: func(r *http.Request) map[string]any {
		return map[string]any{"id": r.Header.Get("X-Request-Id"), "from": "request"}
	}}
	app := serve(t, adapter.New(App{Client: newClient(t, server), Options: options, Handler: func(call Call) error {
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{}, core.WithAttribute("from", "call"))
		assert.NoError(t, err)
		_, err = call.Publisher().PublishBulk(call.Request.Context(), topic, []any{map[string]int{}})
		assert.NoError(t, err)
		return nil
	}}))
	app.get(t, "X-Request-Id", "r-1")
	messages := server.MessagesOf(topic)
	require.Len(t, messages, 2)
	assert.Equal(t, map[string]string{"id": "r-1", "from": "call"}, attributesOf(t, messages[0]), "those of the call win")
	assert.Equal(t, map[string]string{"id": "r-1", "from": "request"}, attributesOf(t, messages[1]))
}

// earlierKey is the key of a value that an earlier middleware has set.
type earlierKey struct{}

// earlier sets that value.
func earlier(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), earlierKey{}, "earlier"))
}

func attributesSeeTheRequest(t *testing.T, adapter Adapter) {
	server := newServer(t)
	options := withAttribute("saw", func(r *http.Request) any {
		value, _ := r.Context().Value(earlierKey{}).(string)
		return r.Method + " " + r.URL.Path + " " + value
	})
	app := serve(t, adapter.New(App{Client: newClient(t, server), Options: options, Before: earlier, Handler: func(call Call) error {
		_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		return nil
	}}))
	app.get(t)
	messages := server.MessagesOf(topic)
	require.Len(t, messages, 1)
	assert.Equal(t, "GET "+Path+" earlier", attributesOf(t, messages[0])["saw"])
}

func attributesAreMadeOnce(t *testing.T, adapter Adapter) {
	server := newServer(t)
	var made atomic.Int32
	options := withAttribute("made", func(*http.Request) any { return made.Add(1) })
	app := serve(t, adapter.New(App{Client: newClient(t, server), Options: options, Handler: func(call Call) error {
		for range 3 {
			_, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
			assert.NoError(t, err)
		}
		return nil
	}}))
	app.get(t)
	app.get(t)
	var values []string
	for _, message := range server.MessagesOf(topic) {
		values = append(values, attributesOf(t, message)["made"])
	}
	assert.Equal(t, []string{"1", "1", "1", "2", "2", "2"}, values)
}

func attributesAreNotMadeForNothing(t *testing.T, adapter Adapter) {
	var made atomic.Int32
	options := withAttribute("made", func(*http.Request) any { return made.Add(1) })
	app := serve(t, adapter.New(App{Client: newClient(t, newServer(t)), Options: options, Handler: func(call Call) error {
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

func keepsEarlierContext(t *testing.T, adapter Adapter) {
	app := serve(t, adapter.New(App{Client: newClient(t, newServer(t)), Before: earlier, Handler: func(call Call) error {
		assert.Equal(t, "earlier", call.Request.Context().Value(earlierKey{}))
		assert.NotNil(t, call.Request.Context().Value(http.ServerContextKey), "what net/http has set")
		assert.NotNil(t, call.Publisher())
		return nil
	}}))
	app.get(t)
}

func clientsDoNotMix(t *testing.T, adapter Adapter) {
	names := []string{"first", "second"}
	servers := map[string]*postofficetest.Server{}
	apps := map[string]*site{}
	for _, name := range names {
		servers[name] = newServer(t)
		options := withAttribute("client", func(*http.Request) any { return name })
		apps[name] = serve(t, adapter.New(App{Client: newClient(t, servers[name]), Options: options, Handler: func(call Call) error {
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
		messages := servers[name].Messages()
		assert.Len(t, messages, 3)
		for _, message := range messages {
			assert.JSONEq(t, `{"client":"`+name+`"}`, string(message.Payload))
			assert.Equal(t, name, attributesOf(t, message)["client"])
		}
	}
}
