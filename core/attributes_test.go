package core_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// countedText counts how often its text is asked for.
type countedText struct{ asked *atomic.Int32 }

func (c countedText) String() string { return fmt.Sprint("text ", c.asked.Add(1)) }

func TestAttributesOfARequestAreEncodedOnce(t *testing.T) {
	bothSettings(t, func(t *testing.T, config core.Config) {
		server := newServer(t, "orders")
		config.URL = server.URL()
		client := newTestClient(t, config)
		var calls, asked atomic.Int32
		p, _ := begin(t, client, core.Options{AfterResponse: core.Memory, Attributes: func(*http.Request) map[string]any {
			calls.Add(1)
			return map[string]any{"a": countedText{&asked}, "b": 1}
		}})
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for j := range 20 {
					_, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithAttribute("b", i), core.WithMetadata("c", j))
					assert.NoError(t, err)
					_, err = p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
					assert.NoError(t, err)
				}
			})
		}
		all.Wait()
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, payloadsOf(server, "orders"), 16*20*3)
		assert.EqualValues(t, 1, calls.Load())
		assert.EqualValues(t, 1, asked.Load())
	})
}

func TestAttributesThatPanic(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: taking}})
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		p, _ := begin(t, client, core.Options{AfterResponse: mode, Attributes: func(*http.Request) map[string]any { panic("of the app") }})
		for range 2 {
			assert.PanicsWithValue(t, "of the app", func() { _, _ = p.Publish(t.Context(), "orders", struct{}{}, core.WithAttribute("a", 1)) })
		}
	}
	require.NoError(t, client.Stop(t.Context()), "no call is left")
}

// Calls use what earlier calls have used. Nothing of those comes along, also if
// they failed.
func TestCallsLeaveNothingToLaterOnes(t *testing.T) {
	bothSettings(t, func(t *testing.T, config core.Config) {
		server := newServer(t, "orders")
		config.URL = server.URL()
		client := newTestClient(t, config)
		for _, mode := range []core.Mode{core.Off, core.Memory} {
			p := publisherIn(t, client, mode)
			for _, options := range [][]core.PublishOption{
				{core.WithAttribute("a", 1), core.WithMetadata("m", 1), core.WithMessageID(), nil},
				{core.WithAttribute("a", 1), core.WithMetadata("m", nil), core.WithMessageID()},
				{core.WithAttribute("a", 1), core.WithMetadata("m", 1), core.WithMessageID(), core.WithDedupKey("k")},
			} {
				_, err := p.Publish(t.Context(), "orders", struct{}{}, options...)
				require.ErrorIs(t, err, core.ErrInvalidMessage)
				_, err = p.Publish(t.Context(), "orders", make(chan int), core.WithAttribute("a", 1), core.WithMetadata("m", 1), core.WithMessageID())
				require.ErrorIs(t, err, core.ErrInvalidMessage)
				receipt, err := p.Publish(t.Context(), "orders", struct{}{})
				require.NoError(t, err)
				assert.Empty(t, receipt.IDs)
			}
		}
		require.NoError(t, client.Flush(t.Context()))
		messages := server.MessagesOf("orders")
		require.Len(t, messages, 6)
		for _, message := range messages {
			assert.Equal(t, `{}{}`, string(message.Payload)+string(message.Attributes))
		}
	})
}

func TestConcurrentCallsKeepTheirAttributes(t *testing.T) {
	bothSettings(t, func(t *testing.T, config core.Config) {
		server := newServer(t, "orders")
		config.URL = server.URL()
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 200 {
					n := i * j % 5
					_, err := p.Publish(t.Context(), "orders", map[string]int{"n": n}, core.WithAttribute("n", n),
						core.WithAttributes(map[string]any{"i": i}), core.WithMetadata("m", n))
					assert.NoError(t, err)
				}
			})
		}
		all.Wait()
		require.NoError(t, client.Flush(t.Context()))
		messages := server.MessagesOf("orders")
		require.Len(t, messages, 1600)
		for _, message := range messages {
			var payload struct{ N int }
			metadata, rest := metadataOf(t, string(message.Payload))
			require.NoError(t, json.Unmarshal([]byte(rest), &payload))
			n := fmt.Sprint(payload.N)
			assert.Equal(t, n, attribute(message, "n"))
			if config.MetadataInPayload {
				assert.Equal(t, map[string]string{"m": n}, metadata)
			} else {
				assert.Equal(t, n, attribute(message, "m"))
			}
		}
	})
}
