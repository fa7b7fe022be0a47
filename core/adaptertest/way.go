package adaptertest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// way is one of the ways in which requests publish.
type way struct {
	name    string
	options core.Options
	// state is the state of receipts.
	state core.State
}

// ways returns all ways.
func ways() []way {
	return []way{
		{"Off", core.Options{}, core.Delivered},
		{"Durable", core.Options{AfterResponse: core.Durable}, core.Stored},
		{"Memory", core.Options{AfterResponse: core.Memory}, core.Queued},
		{"OffFlushOn", core.Options{FlushOn: core.Succeeded}, core.Held},
		{"DurableFlushOn", core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}, core.Held},
		{"MemoryFlushOn", core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}, core.Held},
	}
}

// inEachWay returns a test that runs a check for every way.
func inEachWay(check func(t *testing.T, adapter Adapter, w way)) func(*testing.T, Adapter) {
	return inWays(func(way) bool { return true }, check)
}

// afterTheResponse returns a test that runs a check for every way that posts
// after the response.
func afterTheResponse(check func(t *testing.T, adapter Adapter, w way)) func(*testing.T, Adapter) {
	return inWays(func(w way) bool { return w.options.AfterResponse != core.Off }, check)
}

func inWays(wanted func(way) bool, check func(t *testing.T, adapter Adapter, w way)) func(*testing.T, Adapter) {
	return func(t *testing.T, adapter Adapter) {
		for _, w := range ways() {
			if wanted(w) {
				t.Run(w.name, func(t *testing.T) { check(t, adapter, w) })
			}
		}
	}
}

// inEachHeldWay returns a test that runs a check for every way that holds
// messages.
func inEachHeldWay(check func(t *testing.T, adapter Adapter, w way)) func(*testing.T, Adapter) {
	return inWays(func(w way) bool { return w.options.FlushOn != nil }, check)
}

// newClient is newClient with the configuration that the way needs.
func (w way) newClient(t *testing.T, server *postofficetest.Server, change ...func(*core.Config)) *core.Client {
	t.Helper()
	return newClient(t, server, append([]func(*core.Config){func(config *core.Config) {
		if w.options.AfterResponse == core.Durable || w.options.AfterResponse == core.Off && w.options.FlushOn != nil {
			config.Outbox = memory.New()
		}
	}}, change...)...)
}

// noPosts keeps messages that are posted after the response waiting until Flush
// or Stop.
func noPosts(config *core.Config) {
	config.Batching.Delay = core.MaxBatchDelay
	config.Batching.MaxAge = 2 * core.MaxBatchDelay // Delay may be at most half of it
}

// withAttribute returns Options of the way that add one attribute, computed
// from the request.
func (w way) withAttribute(name string, value func(*http.Request) any) core.Options {
	options := w.options
	options.Attributes = func(r *http.Request) map[string]any { return map[string]any{name: value(r)} }
	return options
}

// delivered returns the n messages that the server must receive from requests
// that have ended. Messages posted within the call are already there, messages
// in memory arrive with a Flush, and stored messages soon.
func (w way) delivered(t *testing.T, client *core.Client, server *postofficetest.Server, n int) []postofficetest.Message {
	t.Helper()
	switch w.options.AfterResponse {
	case core.Memory:
		require.NoError(t, client.Flush(soon(t)))
	case core.Durable:
		require.NoError(t, server.WaitForMessages(soon(t), topic, n))
	}
	messages := server.MessagesOf(topic)
	require.Len(t, messages, n, "messages that the server has received")
	return messages
}
