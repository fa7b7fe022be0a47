package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestFullMemoryRefusesWhatMayBeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store, Batching: core.Batching{MaxMessages: 2},
		})
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
		queueN(t, p, 2, core.Held)
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted, "at once: it would wait for its own end")
		assert.Empty(t, records(t, store), "what is stored could not be dropped any more")
		end(500)
		isEmpty(t, client)
	})
}

func TestPanicOfFlushOnDrops(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: func(core.Outcome) bool { panic("oh") }})
		queueN(t, p, 2, core.Held)
		assert.PanicsWithValue(t, "oh", func() { end(200) })
		require.NoError(t, client.Flush(t.Context()))
		assert.Empty(t, payloadsOf(server, "orders"), "the response is that to a panic")
		isEmpty(t, client)
	})
}

func TestOutcomeHasAFinalStatus(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	for status, want := range map[int]int{0: 200, 100: 200, 103: 200, 101: 101, 200: 200, 304: 304, 500: 500} {
		var got core.Outcome
		options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool { got = outcome; return false }}
		require.NoError(t, client.Serve(&answered{ResponseWriter: httptest.NewRecorder(), status: status}, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
			_, err := core.MustFromContext(r.Context()).Publish(r.Context(), "orders", struct{}{})
			return err
		}))
		assert.Equal(t, core.Outcome{Status: want}, got, status)
	}
}

func TestFlushOnDecidesAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		options := core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}
		for _, test := range []struct {
			status int
			want   int
		}{{200, 2}, {404, 2}, {500, 0}, {0, 0}} {
			before := len(server.MessagesOf("orders"))
			p, end := begin(t, client, options)
			queueN(t, p, 2, core.Held)
			time.Sleep(time.Second)
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before, "nothing leaves before the end")
			end(test.status)
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before+test.want, "status %d", test.status)
			isEmpty(t, client)

			queueN(t, p, 1, core.Queued) // by a goroutine that outlives the request
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before+test.want+1)
		}
		assert.Equal(t, []core.Event{{Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}}, seen.of("discarded"))
	})
}

func TestStopWaitsForRequestsThatHoldMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
		queueN(t, p, 2, core.Held)
		var stopped error
		var stopping sync.WaitGroup
		stopping.Go(func() { stopped = client.Stop(context.WithoutCancel(t.Context())) })
		synctest.Wait()
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrClosed)
		end(200)
		stopping.Wait()
		require.NoError(t, stopped)
		assert.Len(t, payloadsOf(server, "orders"), 2)
	})
}

func TestSucceeded(t *testing.T) {
	assert.True(t, core.Succeeded(core.Outcome{}), "a job")
	assert.False(t, core.Succeeded(core.Outcome{Err: errors.New("broken")}))
	assert.True(t, core.Succeeded(core.Outcome{Status: 200}))
	assert.True(t, core.Succeeded(core.Outcome{Status: 499}))
	assert.False(t, core.Succeeded(core.Outcome{Status: 500}))
	assert.False(t, core.Succeeded(core.Outcome{Panicked: true}))
}

func TestCommitted(t *testing.T) {
	for _, status := range []int{0, 101, 200, 204, 304, 399} {
		assert.True(t, core.Committed(core.Outcome{Status: status}), status)
	}
	for _, status := range []int{400, 499, 500} {
		assert.False(t, core.Committed(core.Outcome{Status: status}), status)
	}
	assert.False(t, core.Committed(core.Outcome{Panicked: true}))
	assert.False(t, core.Committed(core.Outcome{Err: errors.New("broken")}))
}
