package core_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestStateIsItsNameInTextAndJSON(t *testing.T) {
	for state, name := range map[core.State]string{core.Unknown: "unknown", core.Delivered: "delivered", core.Stored: "stored", core.Queued: "queued", core.Held: "held"} {
		assert.Equal(t, name, state.String())
		encoded, err := json.Marshal(map[string]any{"state": state})
		require.NoError(t, err)
		assert.JSONEq(t, `{"state":"`+name+`"}`, string(encoded))
		var decoded struct{ State core.State }
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		assert.Equal(t, state, decoded.State)
	}
	for _, state := range []core.State{-1, core.Held + 1} {
		assert.Equal(t, "unknown", state.String())
	}
	state := core.Stored
	require.ErrorContains(t, state.UnmarshalText([]byte("lost")), `"lost" is not a state`)
	assert.Equal(t, core.Stored, state, "what it was")
	assert.Equal(t, core.Unknown, core.State(0), "never a success")
}

// A Receipt beside an error claims nothing, whichever way the call fails.
func TestReceiptOfFailedCallIsUnknown(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	stopped := newTestClient(t, core.Config{URL: server.URL(), Outbox: memory.New()})
	require.NoError(t, stopped.Stop(t.Context()))
	unstored := newTestClient(t, core.Config{URL: "http://127.0.0.1:1", Outbox: brokenStore{memory.New()}})
	ok, bad := []any{struct{}{}}, []any{struct{}{}, nil}
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		publisher := func(c *core.Client) *core.Publisher { return publisherIn(t, c, mode) }
		for name, call := range map[string]func() (core.Receipt, error){
			"invalid":         func() (core.Receipt, error) { return publisher(client).Publish(t.Context(), "orders", nil) },
			"invalid topic":   func() (core.Receipt, error) { return publisher(client).Publish(t.Context(), "", ok[0]) },
			"invalid of many": func() (core.Receipt, error) { return publisher(client).PublishBulk(t.Context(), "orders", bad) },
			"stopped":         func() (core.Receipt, error) { return publisher(stopped).Publish(t.Context(), "orders", ok[0]) },
			"stopped, many":   func() (core.Receipt, error) { return publisher(stopped).PublishBulk(t.Context(), "orders", ok) },
			"no transactions": func() (core.Receipt, error) { return publisher(client).PublishTx(t.Context(), nil, "orders", ok[0]) },
			"no publisher":    func() (core.Receipt, error) { return (*core.Publisher)(nil).Publish(t.Context(), "orders", ok[0]) },
		} {
			receipt, err := call()
			require.Error(t, err, "%s, mode %d", name, mode)
			assert.Equal(t, core.Unknown, receipt.State, "%s, mode %d", name, mode)
		}
	}
	for name, call := range map[string]func() (core.Receipt, error){
		"refused": func() (core.Receipt, error) { return client.Publish(t.Context(), "misspelt", ok[0]) },
		"many":    func() (core.Receipt, error) { return client.PublishBulk(t.Context(), "misspelt", append(ok, ok...)) },
		"neither delivered nor stored": func() (core.Receipt, error) {
			return unstored.Publish(t.Context(), "orders", ok[0])
		},
		"nor admitted": func() (core.Receipt, error) {
			return unstored.Publish(t.Context(), "orders", ok[0], core.WithDedupKey("k"))
		},
	} {
		receipt, err := call()
		require.ErrorIs(t, err, core.ErrNotAccepted, name)
		assert.Equal(t, core.Unknown, receipt.State, name)
	}
}

// Beside the error of a bulk, the Receipt tells the jobs of what was delivered
// and no state.
func TestReceiptOfPartlyDeliveredBulkIsUnknown(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), BulkLimit: 1})
	server.FailNext(1, 400)
	receipt, err := client.PublishBulk(t.Context(), "orders", core.Payloads([]struct{}{{}, {}}))
	require.ErrorIs(t, err, core.ErrNotAccepted)
	assert.Len(t, receipt.Jobs, 1)
	assert.Equal(t, core.Unknown, receipt.State)
}

func TestReceiptOfAcceptedMessagesTellsTheirState(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: memory.New()})
	var published events
	watched := newTestClient(t, core.Config{URL: server.URL(), Observer: published.observer()})
	for _, n := range []int{0, 1, 3} {
		receipt, err := client.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, n)))
		require.NoError(t, err)
		assert.Equal(t, core.Delivered, receipt.State, "%d messages", n)
	}
	_, err := watched.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, []core.Event{{Topic: "orders", Messages: 1, State: core.Delivered}}, published.of("published"))
}
