//go:build !race

package core_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// escaped holds the last options, so that a run without a client allocates them
// as a call does.
var escaped []core.PublishOption

// Allocations of the client for each message in Memory, without those of the
// payload and of the caller's options. Under the race detector there are more,
// because pools forget some of what they hold.
func TestAllocationsInMemory(t *testing.T) {
	text := "0197f0c2-7d4c-7b3a-9d2e-0f5a3d1c8b11"
	inPayload := core.Config{MetadataInPayload: true}
	none := func() []core.PublishOption { return nil }
	two := func() []core.PublishOption {
		return []core.PublishOption{core.WithAttribute("source", text), core.WithAttribute("tenant", 4711)}
	}
	for name, test := range map[string]struct {
		config    core.Config
		base      map[string]any
		ofEachOwn bool // each message has a publisher of its own
		withTx    bool // WithTx was called for another context
		options   func() []core.PublishOption
		most      float64
	}{
		"bare":                         {options: none},
		"bare, beside transactions":    {options: none, withTx: true},
		"two attributes":               {options: two},
		"publisher":                    {ofEachOwn: true, options: none, most: 3},
		"publisher and two attributes": {ofEachOwn: true, options: two, most: 3},
		"publisher and a map": {ofEachOwn: true, most: 3, options: func() []core.PublishOption {
			return []core.PublishOption{core.WithAttributes(map[string]any{"source": text, "region": "north"})}
		}},
		"of the request":                 {base: map[string]any{"request": text}, options: none},
		"of the request and two":         {base: map[string]any{"request": text, "n": 1000}, options: two},
		"of the request, in the payload": {config: inPayload, base: map[string]any{"request": text}, options: two},
		"id":                             {config: inPayload, most: 3, options: func() []core.PublishOption { return []core.PublishOption{core.WithMessageID()} }},
		"publisher, id and metadata": {config: inPayload, ofEachOwn: true, most: 6, options: func() []core.PublishOption {
			return []core.PublishOption{core.WithMessageID(), core.WithMetadata("request", text), core.WithAttribute("source", text)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.URL = testServer
			test.config.HTTPClient = &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				_, err := io.Copy(io.Discard, r.Body)
				return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: r}, err
			})}
			client := newTestClient(t, test.config)
			if test.withTx {
				_ = client.WithTx(t.Context(), &fakeTx{})
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			require.NoError(t, err)
			options := core.Options{AfterResponse: core.Memory}
			if test.base != nil {
				options.Attributes = func(*http.Request) map[string]any { return test.base }
			}
			payload := &struct{ A, B string }{"a", "b"}
			serve := func(publish func(ctx context.Context, p *core.Publisher)) {
				require.NoError(t, client.Serve(nil, request, options, func(_ http.ResponseWriter, r *http.Request) error {
					publish(r.Context(), core.MustFromContext(r.Context()))
					return nil
				}))
			}
			once := func(ctx context.Context, p *core.Publisher) {
				escaped = test.options()
				if _, err := p.Publish(ctx, "orders", payload, escaped...); err != nil {
					t.Error(err)
				}
			}
			const runs = 3000
			callers := testing.AllocsPerRun(runs, func() { escaped = test.options() })
			var all float64
			if test.ofEachOwn {
				all = testing.AllocsPerRun(runs, func() { serve(once) })
			} else {
				serve(func(ctx context.Context, p *core.Publisher) {
					all = testing.AllocsPerRun(runs, func() { once(ctx, p) })
				})
			}
			assert.LessOrEqual(t, all-callers, test.most, "%v of all, %v of the caller", all, callers)
		})
	}
}
