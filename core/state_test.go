package core

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestStateIsItsNameInTextAndJSON(t *testing.T) {
	for state, name := range map[State]string{Unknown: "unknown", Delivered: "delivered", Stored: "stored", Queued: "queued"} {
		assert.Equal(t, name, state.String())
		encoded, err := json.Marshal(map[string]any{"state": state})
		require.NoError(t, err)
		assert.JSONEq(t, `{"state":"`+name+`"}`, string(encoded))
		var decoded struct{ State State }
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		assert.Equal(t, state, decoded.State)
	}
	for _, state := range []State{-1, Queued + 1} {
		assert.Equal(t, "unknown", state.String())
	}
	state := Stored
	require.ErrorContains(t, state.UnmarshalText([]byte("lost")), `"lost" is no state`)
	assert.Equal(t, Stored, state, "what it was")
	assert.Equal(t, Unknown, State(0), "never a success")
}

// A Receipt beside an error claims nothing, whichever way the call fails.
func TestReceiptOfFailedCallIsUnknown(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, Config{URL: server.URL()})
	stopped := newTestClient(t, Config{URL: server.URL(), Outbox: memory.New()})
	require.NoError(t, stopped.Stop(t.Context()))
	unstored := newTestClient(t, Config{URL: "http://127.0.0.1:1", Outbox: brokenStore{memory.New()}})
	ok, bad := []any{struct{}{}}, []any{struct{}{}, nil}
	for _, mode := range []Mode{Off, Durable, Memory} {
		publisher := func(c *Client) *Publisher { return &Publisher{client: c, options: Options{AfterResponse: mode}} }
		for name, call := range map[string]func() (Receipt, error){
			"invalid":         func() (Receipt, error) { return publisher(client).Publish(t.Context(), "orders", nil) },
			"invalid topic":   func() (Receipt, error) { return publisher(client).Publish(t.Context(), "", ok[0]) },
			"invalid of many": func() (Receipt, error) { return publisher(client).PublishBulk(t.Context(), "orders", bad) },
			"stopped":         func() (Receipt, error) { return publisher(stopped).Publish(t.Context(), "orders", ok[0]) },
			"stopped, many":   func() (Receipt, error) { return publisher(stopped).PublishBulk(t.Context(), "orders", ok) },
			"no transactions": func() (Receipt, error) { return publisher(client).PublishTx(t.Context(), nil, "orders", ok[0]) },
			"no publisher":    func() (Receipt, error) { return (*Publisher)(nil).Publish(t.Context(), "orders", ok[0]) },
		} {
			receipt, err := call()
			require.Error(t, err, "%s, mode %d", name, mode)
			assert.Equal(t, Unknown, receipt.State, "%s, mode %d", name, mode)
		}
	}
	for name, call := range map[string]func() (Receipt, error){
		"refused": func() (Receipt, error) { return client.Publish(t.Context(), "misspelt", ok[0]) },
		"many":    func() (Receipt, error) { return client.PublishBulk(t.Context(), "misspelt", append(ok, ok...)) },
		"neither delivered nor stored": func() (Receipt, error) {
			return unstored.Publish(t.Context(), "orders", ok[0])
		},
		"nor admitted": func() (Receipt, error) {
			return unstored.Publish(t.Context(), "orders", ok[0], WithDedupKey("k"))
		},
	} {
		receipt, err := call()
		require.ErrorIs(t, err, ErrNotAccepted, name)
		assert.Equal(t, Unknown, receipt.State, name)
	}
}

// Beside the error of a bulk, the Receipt tells the jobs of what was delivered
// and no state.
func TestReceiptOfPartlyDeliveredBulkIsUnknown(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, Config{URL: server.URL(), BulkLimit: 1})
	server.FailNext(1, 400)
	receipt, err := client.PublishBulk(t.Context(), "orders", Payloads([]struct{}{{}, {}}))
	require.ErrorIs(t, err, ErrNotAccepted)
	assert.Len(t, receipt.Jobs, 1)
	assert.Equal(t, Unknown, receipt.State)
}

func TestReceiptOfAcceptedMessagesTellsTheirState(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, Config{URL: server.URL(), Outbox: memory.New()})
	var published events
	watched := newTestClient(t, Config{URL: server.URL(), Observer: published.observer()})
	for _, n := range []int{0, 1, 3} {
		receipt, err := client.PublishBulk(t.Context(), "orders", Payloads(make([]struct{}, n)))
		require.NoError(t, err)
		assert.Equal(t, Delivered, receipt.State, "%d messages", n)
	}
	_, err := watched.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, []Event{{Topic: "orders", Messages: 1, State: Delivered}}, published.of("published"))
}
