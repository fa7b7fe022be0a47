package adaptertest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// afterResponseTests check the messages of a request that has ended.
var afterResponseTests = []test{
	{"ResponseDoesNotWait", afterTheResponse(responseDoesNotWait)},
	{"RequestsShareBatches", afterTheResponse(requestsShareBatches)},
	{"StopLosesNothing", inEachWay(stopLosesNothing)},
	{"StopWithoutServerLosesNothing", afterTheResponse(stopWithoutServer)},
	{"PanicsLoseNothing", inWays(func(w way) bool { return w.options.FlushOn == nil }, panicsLoseNothing)},
}

// publishNumber publishes the number in the header of a request.
func publishNumber(call Call) error {
	n, err := strconv.Atoi(call.Request.Header.Get("X-Number"))
	if err != nil {
		return err
	}
	_, err = call.Publisher().Publish(call.Request.Context(), topic, map[string]int{"n": n})
	return err
}

// burst sends n numbered requests at the same time and waits for the responses.
func burst(t *testing.T, app *site, n int) {
	t.Helper()
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() {
			got, err := app.try(t.Context(), http.MethodGet, Path, nil, "X-Number", strconv.Itoa(i))
			assert.NoError(t, err)
			assert.Equal(t, http.StatusOK, got.Status)
		})
	}
	clients.Wait()
}

// numbers returns the sorted numbers in payloads.
func numbers(t *testing.T, payloads ...json.RawMessage) []int {
	t.Helper()
	list := []int{}
	for _, payload := range payloads {
		var message struct{ N int }
		require.NoError(t, json.Unmarshal(payload, &message))
		list = append(list, message.N)
	}
	slices.Sort(list)
	return list
}

// got returns the numbers of the messages that the server has received.
func got(t *testing.T, server *postofficetest.Server) []int {
	t.Helper()
	var payloads []json.RawMessage
	for _, message := range server.MessagesOf(topic) {
		payloads = append(payloads, message.Payload)
	}
	return numbers(t, payloads...)
}

// upTo returns the numbers from 0 to n-1.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// posts counts the requests with messages that the server has received.
func posts(server *postofficetest.Server) int {
	count := 0
	for _, request := range server.Requests() {
		if strings.HasPrefix(request.Path, wire.MessagePath) || strings.HasPrefix(request.Path, wire.BulkPath) {
			count++
		}
	}
	return count
}

// responseDoesNotWait uses a server that never responds.
func responseDoesNotWait(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	defer server.Resume() // before the cleanup, which waits for hanging requests
	app := serve(t, adapter.New(App{Client: client, Options: w.options, Handler: publishNumber}))
	server.Hang()
	for i := range 3 {
		app.get(t, "X-Number", strconv.Itoa(i))
		require.NoError(t, server.Wait(soon(t), func() bool { return posts(server) > i }), "each message is posted")
	}
	assert.Empty(t, server.MessagesOf(topic), "no post has been answered")
	server.Resume()
	w.delivered(t, client, server, 3)
	assert.Equal(t, upTo(3), got(t, server))
}

// requestsShareBatches checks that the messages of many requests share posts.
func requestsShareBatches(t *testing.T, adapter Adapter, w way) {
	const requests, mostPosts = 64, 4
	server := newServer(t)
	client := w.newClient(t, server, noPosts)
	app := serve(t, adapter.New(App{Client: client, Options: w.options, Handler: publishNumber}))
	burst(t, app, requests)
	assert.Zero(t, posts(server), "posts before the batch is full or old enough")
	require.NoError(t, client.Flush(soon(t)))
	w.delivered(t, client, server, requests)
	assert.Equal(t, upTo(requests), got(t, server))
	assert.Positive(t, posts(server))
	assert.LessOrEqual(t, posts(server), mostPosts, "posts")
}

// stopWhile sends requests and stops the client as soon as a few have
// published. When Stop has returned, it returns the numbers of the accepted
// messages.
func stopWhile(t *testing.T, adapter Adapter, w way, client *core.Client, stop func()) []int {
	t.Helper()
	const requests, few = 64, 8
	var count atomic.Int32
	begun := make(chan struct{}) // closed when a few requests have published
	var mu sync.Mutex
	accepted := []int{}
	app := serve(t, adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		if err := publishNumber(call); err != nil {
			assert.ErrorIs(t, err, core.ErrClosed)
			return nil
		}
		n, _ := strconv.Atoi(call.Request.Header.Get("X-Number"))
		mu.Lock()
		accepted = append(accepted, n)
		mu.Unlock()
		if count.Add(1) == few {
			close(begun)
		}
		return nil
	}}))
	var stopped sync.WaitGroup
	stopped.Go(func() {
		await(t, begun, "messages to be accepted")
		stop()
	})
	burst(t, app, requests)
	stopped.Wait()
	require.GreaterOrEqual(t, len(accepted), few)
	slices.Sort(accepted)
	return accepted
}

func stopLosesNothing(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server, noPosts)
	accepted := stopWhile(t, adapter, w, client, func() {
		assert.NoError(t, client.Stop(soon(t)))
	})
	assert.Equal(t, accepted, got(t, server))
}

// stopWithoutServer stops the client while the server does not respond: the
// messages must be in the outbox.
func stopWithoutServer(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	store := memory.New()
	client := w.newClient(t, server, func(config *core.Config) { config.Outbox = store })
	defer server.Resume()
	server.Hang()
	accepted := stopWhile(t, adapter, w, client, func() {
		hurried, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if client.Stop(hurried) == nil {
			return
		}
		// On a slow machine, Stop aborts posts and still has to store the rest.
		assert.NoError(t, client.Stop(soon(t)))
	})
	records, err := store.List(t.Context(), outbox.Query{Limit: len(accepted) + 1})
	require.NoError(t, err)
	var payloads []json.RawMessage
	for _, record := range records {
		assert.Equal(t, outbox.Pending, record.State)
		payloads = append(payloads, record.Payload)
	}
	assert.Equal(t, accepted, numbers(t, payloads...))
	assert.Empty(t, server.MessagesOf(topic))
}

// panicsLoseNothing checks that without FlushOn, messages are posted even if
// their request panics.
func panicsLoseNothing(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	handler, ended := signalEnd(adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		assert.NoError(t, publishNumber(call))
		panic("on purpose")
	}}))
	_, _ = serve(t, handler).try(t.Context(), http.MethodGet, Path, nil, "X-Number", "0")
	await(t, ended, "the request to end")
	w.delivered(t, client, server, 1)
}
