package core_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// isField checks that an error names a field.
func isField(t *testing.T, err, kind error, field string) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var fault *core.FieldError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, field, fault.Field)
}

func TestNilPointersInAConfig(t *testing.T) {
	_, err := core.NewClient(core.Config{URL: testServer, Outbox: (*memory.Store)(nil)})
	isField(t, err, core.ErrInvalidConfig, "Outbox")
	assert.ErrorContains(t, err, "*memory.Store")
	_, err = core.NewClient(core.Config{URL: testServer, HTTPClient: &http.Client{Transport: (*http.Transport)(nil)}})
	isField(t, err, core.ErrInvalidConfig, "HTTPClient.Transport")
	newTestClient(t, core.Config{URL: testServer, HTTPClient: nil, Outbox: nil})
	newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{}})
}

func TestNilOptionsOfACall(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	for _, p := range []*core.Publisher{publisherIn(t, client, core.Off), publisherIn(t, client, core.Memory)} {
		_, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithMessageID(), nil)
		isField(t, err, core.ErrInvalidMessage, "options[1]")
		_, err = p.PublishBulk(t.Context(), "orders", []any{struct{}{}}, nil)
		isField(t, err, core.ErrInvalidMessage, "options[0]")
	}
}

func TestNilContextOfACall(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	var none context.Context
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		p := publisherIn(t, client, mode)
		_, err := p.Publish(none, "orders", struct{}{})
		isField(t, err, core.ErrInvalidMessage, "ctx")
		_, err = p.PublishBulk(none, "orders", []any{struct{}{}})
		isField(t, err, core.ErrInvalidMessage, "ctx")
		_, err = p.PublishTx(none, nil, "orders", struct{}{})
		isField(t, err, core.ErrInvalidMessage, "ctx")
	}
}

func TestNilContextHasNoPublisher(t *testing.T) {
	var none context.Context
	for _, ctx := range []context.Context{none, (*pointerContext)(nil)} {
		p, ok := core.FromContext(ctx)
		assert.Nil(t, p)
		assert.False(t, ok)
	}
	p := &core.Publisher{}
	found, ok := core.FromContext(core.NewContext(none, p))
	assert.True(t, ok)
	assert.Same(t, p, found)
}

type pointerContext struct{ context.Context }

// A client that is nil, because the error of NewClient was not looked at, tells
// so wherever it can.
func TestNilClient(t *testing.T) {
	var client *core.Client
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Publish":        func() error { _, err := client.Publish(ctx, "orders", struct{}{}); return err },
		"PublishBulk":    func() error { _, err := client.PublishBulk(ctx, "orders", []any{1}); return err },
		"PublishTx":      func() error { _, err := client.PublishTx(ctx, nil, "orders", struct{}{}); return err },
		"Start":          func() error { return client.Start(ctx) },
		"Flush":          func() error { return client.Flush(ctx) },
		"Stop":           func() error { return client.Stop(ctx) },
		"Ready":          func() error { return client.Ready(ctx) },
		"Health":         func() error { return client.Health(ctx) },
		"Setup":          func() error { _, err := client.Setup(ctx); return err },
		"SetupTopics":    func() error { _, err := client.SetupTopics(ctx); return err },
		"SetupConsumers": func() error { _, err := client.SetupConsumers(ctx); return err },
		"Outbox.Stats":   func() error { _, err := client.Outbox().Stats(ctx); return err },
		"Outbox.List":    func() error { _, err := client.Outbox().List(ctx, outbox.Query{}); return err },
		"Outbox.Retry":   func() error { _, err := client.Outbox().Retry(ctx, outbox.Selection{All: true}); return err },
		"MountRoutes":    func() error { return client.MountRoutes(core.Router{}) },
		"Register":       func() error { return client.Register(core.Router{}, core.Options{}, nil) },
	} {
		t.Run(name, func(t *testing.T) { isField(t, call(), core.ErrInvalidConfig, "client") })
	}
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		p, end := begin(t, client, core.Options{AfterResponse: mode, FlushOn: core.Succeeded, Attributes: func(*http.Request) map[string]any { return nil }})
		_, err := p.Publish(ctx, "orders", struct{}{})
		isField(t, err, core.ErrInvalidConfig, "client")
		_, err = p.PublishBulk(ctx, "orders", []any{struct{}{}})
		isField(t, err, core.ErrInvalidConfig, "client")
		end(200)
	}
	client.AddRoute(core.Route{Path: "/a/"})
	assert.Zero(t, client.Stats())
	assert.Zero(t, client.Status())
	assert.Empty(t, client.LastHour())
	for _, handler := range []http.Handler{client.RecoveryHandler(), client.ReadinessHandler()} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		assert.GreaterOrEqual(t, w.Code, 500)
	}
}
