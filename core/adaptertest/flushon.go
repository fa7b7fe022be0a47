package adaptertest

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// flushOnTests check the outcome that Options.FlushOn receives, and that
// messages are posted or dropped accordingly.
var flushOnTests = []test{
	{"Outcomes", outcomes},
	{"InformationalStatus", informationalStatus},
	{"HoldsUntilTheEnd", holdsUntilTheEnd},
	{"EachRequestDecides", eachRequestDecides},
	{"AfterTheEnd", afterTheEnd},
}

// ending describes the end of a request, as the client, FlushOn and the server
// see it.
type ending struct {
	answer    answer
	failed    error          // the reason why there was no response
	outcomes  []core.Outcome // the arguments of FlushOn
	delivered int
	discarded int
}

// endingOf sends a request whose handler publishes three messages, and then
// calls the given handler.
func endingOf(t *testing.T, adapter Adapter, handler Handler) ending {
	t.Helper()
	var end ending
	var mu sync.Mutex
	server := newServer(t)
	client := newClient(t, server, func(config *core.Config) {
		config.Observer.Discarded = func(event core.Event) {
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, topic, event.Topic)
			end.discarded += event.Messages
		}
	})
	options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
		mu.Lock()
		defer mu.Unlock()
		end.outcomes = append(end.outcomes, outcome)
		return core.Succeeded(outcome)
	}}
	app, ended := signalEnd(adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		p := call.Publisher()
		_, err := p.Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		_, err = p.PublishBulk(call.Request.Context(), topic, []any{map[string]int{}, map[string]int{}})
		assert.NoError(t, err)
		return handler(call)
	}}))
	end.answer, end.failed = serve(t, app).try(t.Context(), http.MethodGet, Path, nil)
	await(t, ended, "the request to end")
	require.NoError(t, client.Flush(soon(t)))
	mu.Lock()
	defer mu.Unlock()
	end.delivered = len(server.MessagesOf(topic))
	require.LessOrEqual(t, len(end.outcomes), 1, "FlushOn is called at most once for a request")
	return end
}

func outcomes(t *testing.T, adapter Adapter) {
	write := func(status int) Handler {
		return func(call Call) error {
			call.Writer.WriteHeader(status)
			_, err := io.WriteString(call.Writer, "text")
			return err
		}
	}
	// streamed sends 200 and a part of the body before it calls the next
	// handler.
	streamed := func(next Handler) Handler {
		return func(call Call) error {
			_, _ = io.WriteString(call.Writer, "first half")
			_ = http.NewResponseController(call.Writer).Flush()
			return next(call)
		}
	}
	copies := func(call Call) error {
		_, err := io.Copy(call.Writer, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 10_000))})
		return err
	}
	breaks := func(value any) Handler { return func(Call) error { panic(value) } }
	fails := func(status int) Handler { return func(Call) error { return StatusError(status) } }
	cases := []struct {
		name    string
		handler Handler
		want    bool
	}{
		{"Nothing", nothing, true},
		{"TextOnly", func(call Call) error { _, err := io.WriteString(call.Writer, "text"); return err }, true},
		{"Copy", copies, true},
		{"FlushOnly", func(call Call) error { return http.NewResponseController(call.Writer).Flush() }, true},
		{"Status200", write(http.StatusOK), true},
		{"Status204", func(call Call) error { call.Writer.WriteHeader(http.StatusNoContent); return nil }, true},
		{"Status404", write(http.StatusNotFound), true},
		{"Status499", write(499), true},
		{"Status500", write(http.StatusInternalServerError), false},
		{"Status503WithoutBody", func(call Call) error { call.Writer.WriteHeader(http.StatusServiceUnavailable); return nil }, false},
		{"Error404", fails(http.StatusNotFound), true},
		{"Error500", fails(http.StatusInternalServerError), false},
		{"Error503", fails(http.StatusServiceUnavailable), false},
		{"Streamed", streamed(nothing), true},
		{"StreamedThenError500", streamed(fails(http.StatusInternalServerError)), true}, // the client has received 200
		{"StreamedThenPanic", streamed(breaks("on purpose")), true},
		{"StreamedThenAbort", streamed(breaks(http.ErrAbortHandler)), true},
		{"Panic", breaks(errors.New("on purpose")), false},
		{"Abort", breaks(http.ErrAbortHandler), false},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			panicked := true
			end := endingOf(t, adapter, func(call Call) error {
				err := test.handler(call)
				panicked = false
				return err
			})
			if test.want {
				assert.Equal(t, 3, end.delivered, "delivered")
				assert.Zero(t, end.discarded, "discarded")
			} else {
				assert.Zero(t, end.delivered, "delivered")
				assert.Equal(t, 3, end.discarded, "discarded")
			}
			if panicked && !test.want {
				assert.Empty(t, end.outcomes, "a panic drops the messages without calling FlushOn")
				return
			}
			require.Len(t, end.outcomes, 1)
			if panicked {
				assert.Equal(t, core.Outcome{Status: http.StatusOK}, end.outcomes[0])
				return
			}
			require.NoError(t, end.failed)
			assert.Equal(t, core.Outcome{Status: end.answer.Status}, end.outcomes[0], "the status that the client received")
		})
	}
	t.Run("Hijacked", func(t *testing.T) {
		end := endingOf(t, adapter, func(call Call) error {
			conn, buffer, err := http.NewResponseController(call.Writer).Hijack()
			if err != nil {
				return nil // this framework cannot hijack
			}
			defer func() { _ = conn.Close() }()
			_, _ = buffer.WriteString("HTTP/1.1 500 Mine\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmine")
			return buffer.Flush()
		})
		require.NoError(t, end.failed)
		require.Len(t, end.outcomes, 1)
		assert.Less(t, end.outcomes[0].Status, 300, "a response on a hijacked connection does not count")
		assert.Equal(t, 3, end.delivered)
	})
}

// informationalStatus sends 103 before the response. Some frameworks cannot:
// the check depends on the final status that the client receives.
func informationalStatus(t *testing.T, adapter Adapter) {
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			end := endingOf(t, adapter, func(call Call) error {
				call.Writer.WriteHeader(http.StatusEarlyHints)
				call.Writer.WriteHeader(status)
				return nil
			})
			require.NoError(t, end.failed)
			want := 0
			if end.answer.Status < http.StatusInternalServerError {
				want = 3
			}
			assert.Equal(t, want, end.delivered, "the client received %d", end.answer.Status)
		})
	}
}

// holdsUntilTheEnd checks that nothing is posted while the handler runs.
func holdsUntilTheEnd(t *testing.T, adapter Adapter) {
	server := newServer(t)
	client := newClient(t, server)
	options := core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		assert.NoError(t, publishNumber(call))
		assert.NoError(t, client.Flush(soon(t)))
		assert.Zero(t, posts(server), "posts while the handler runs")
		return nil
	}}))
	app.get(t, "X-Number", "0")
	require.NoError(t, client.Flush(soon(t)))
	assert.Equal(t, upTo(1), got(t, server))
}

// eachRequestDecides sends concurrent requests that end in different ways.
func eachRequestDecides(t *testing.T, adapter Adapter) {
	const requests = 64
	server := newServer(t)
	client := newClient(t, server)
	options := core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}
	var inside atomic.Int32
	all := make(chan struct{}) // closed when all requests are in their handlers
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		assert.NoError(t, publishNumber(call))
		if inside.Add(1) == requests {
			close(all)
		}
		await(t, all, "all requests to come in")
		switch n, _ := strconv.Atoi(call.Request.Header.Get("X-Number")); n % 4 {
		case 1:
			return StatusError(http.StatusInternalServerError)
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			return StatusError(http.StatusConflict)
		}
		return nil
	}}))
	var clients sync.WaitGroup
	for i := range requests {
		clients.Go(func() {
			_, _ = app.try(t.Context(), http.MethodGet, Path, nil, "X-Number", strconv.Itoa(i))
		})
	}
	clients.Wait()
	require.NoError(t, client.Stop(soon(t))) // waits for requests that hold messages
	var want []int
	for i := range requests {
		if i%4 == 0 || i%4 == 3 {
			want = append(want, i)
		}
	}
	assert.Equal(t, want, got(t, server))
}

// afterTheEnd publishes with a publisher after its request has ended and its
// messages were dropped.
func afterTheEnd(t *testing.T, adapter Adapter) {
	server := newServer(t)
	client := newClient(t, server)
	options := core.Options{AfterResponse: core.Memory, FlushOn: func(core.Outcome) bool { return false }}
	kept := make(chan *core.Publisher, 1)
	app, ended := signalEnd(adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		kept <- call.Publisher()
		return publishNumber(call)
	}}))
	published := make(chan struct{})
	go func() {
		defer close(published)
		p := <-kept
		await(t, ended, "the request to end")
		receipt, err := p.Publish(t.Context(), topic, map[string]int{"n": 1})
		assert.NoError(t, err)
		assert.Equal(t, core.Queued, receipt.State)
	}()
	serve(t, app).get(t, "X-Number", "0")
	await(t, published, "the message to be published")
	require.NoError(t, client.Flush(soon(t)))
	assert.Equal(t, []int{1}, got(t, server))
}
