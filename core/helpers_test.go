package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestClient makes a client and stops it when the test ends.
func newTestClient(t *testing.T, config core.Config) *core.Client {
	t.Helper()
	if config.Logger == nil {
		config.Logger = quiet
	}
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Stop(context.Background())) })
	return client
}

// answering is a server without a network, of a handler.
func answering(handler http.HandlerFunc) http.RoundTripper {
	return roundTripFunc(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		handler(recorder, r)
		return recorder.Result(), nil
	})
}

// roundTripFunc is an http.RoundTripper of a function.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// events collects what an Observer is told.
type events struct {
	mu   sync.Mutex
	list map[string][]core.Event
}

func (e *events) add(name string) func(core.Event) {
	return func(event core.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.list == nil {
			e.list = map[string][]core.Event{}
		}
		e.list[name] = append(e.list[name], event)
	}
}

func (e *events) of(name string) []core.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]core.Event(nil), e.list[name]...)
}

func (e *events) observer() core.Observer {
	return core.Observer{
		Delivered: e.add("delivered"), Stored: e.add("stored"), Failed: e.add("failed"),
		Dead: e.add("dead"), NoConsumer: e.add("no consumer"), Recovered: e.add("recovered"), Discarded: e.add("discarded"),
		Published: e.add("published"), Spilled: e.add("spilled"), Listed: e.add("listed"),
	}
}

// newServer starts a fake server with topics, each with one consumer to
// which nothing is sent.
func newServer(t *testing.T, topics ...string) *postofficetest.Server {
	t.Helper()
	server := postofficetest.Start(t)
	addTopics(t, server, topics...)
	return server
}

func addTopics(t *testing.T, server *postofficetest.Server, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		require.NoError(t, server.AddTopic(postofficetest.Topic{Name: topic, OriginHost: "http://app.test/"}))
		_, err := server.AddConsumer(postofficetest.Consumer{Topic: topic, Target: "sink", Type: postofficetest.TypePubSub})
		require.NoError(t, err)
	}
}

// payloadsOf returns the payloads that the server has accepted for a topic.
func payloadsOf(server *postofficetest.Server, topic string) []string {
	var payloads []string
	for _, message := range server.MessagesOf(topic) {
		payloads = append(payloads, string(message.Payload))
	}
	return payloads
}

// records returns the records in an outbox.
func records(t *testing.T, store outbox.Store) []outbox.Record {
	t.Helper()
	entries, err := store.List(context.Background(), outbox.Query{Limit: 100_000})
	require.NoError(t, err)
	list := make([]outbox.Record, len(entries))
	for i, entry := range entries {
		list[i] = entry.Record
	}
	return list
}

// brokenStore is an outbox that cannot be written.
type brokenStore struct{ outbox.Store }

var errBrokenStore = errors.New("disk is full")

func (brokenStore) Insert(context.Context, time.Duration, ...outbox.Record) error {
	return errBrokenStore
}

// logText is a log that may be read while a client writes to it.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logger writes to the log.
func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// answered is a writer of a request that has been answered.
type answered struct {
	http.ResponseWriter
	status int
}

// Status returns the status of the answer.
func (a *answered) Status() int { return a.status }

// begin begins a request, which ends when end is called or the test ends: with a
// status, or, if that is zero, by a panic.
func begin(t *testing.T, client *core.Client, options core.Options) (p *core.Publisher, end func(status int)) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	require.NoError(t, err)
	w := &answered{ResponseWriter: httptest.NewRecorder()}
	begun, ending, ended := make(chan *core.Publisher, 1), make(chan bool), make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		_ = client.Serve(w, request, options, func(_ http.ResponseWriter, r *http.Request) error {
			begun <- core.MustFromContext(r.Context())
			if panics := <-ending; panics {
				panic(http.ErrAbortHandler)
			}
			return nil
		})
	}()
	over := false
	end = func(status int) {
		if over {
			return
		}
		over = true
		w.status = status
		ending <- status == 0
		reason := <-ended
		if err, ok := reason.(error); reason != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
			panic(reason)
		}
	}
	t.Cleanup(func() { end(0) })
	return <-begun, end
}

// pathsOf returns the paths that a client mounts.
func pathsOf(t *testing.T, client *core.Client) []string {
	t.Helper()
	var paths []string
	require.NoError(t, client.MountRoutes(core.Router{Native: t, Handle: func(method, path string, _ http.Handler) {
		if method == http.MethodGet && strings.HasSuffix(path, "/") {
			paths = append(paths, path)
		}
	}}))
	return paths
}

// publisherIn makes a publisher of a mode.
func publisherIn(t *testing.T, client *core.Client, mode core.Mode) *core.Publisher {
	t.Helper()
	var p *core.Publisher // which outlives its request
	require.NoError(t, client.Serve(nil, nil, core.Options{AfterResponse: mode}, func(_ http.ResponseWriter, r *http.Request) error {
		p = core.MustFromContext(r.Context())
		return nil
	}))
	return p
}

// queueN publishes so many messages and checks where they went.
func queueN(t *testing.T, p *core.Publisher, n int, want core.State) {
	t.Helper()
	for i := range n {
		receipt, err := p.Publish(t.Context(), "orders", map[string]int{"n": i})
		require.NoError(t, err)
		require.Equal(t, want, receipt.State)
	}
}

// isEmpty checks that a client holds nothing in memory: neither messages nor
// room for them.
func isEmpty(t *testing.T, client *core.Client) {
	t.Helper()
	stats := client.Stats()
	assert.Zero(t, stats.Queued, "messages")
	assert.Zero(t, stats.QueuedBytes, "bytes")
	assert.Zero(t, stats.AtRisk)
	assert.Zero(t, stats.AtRiskFor)
	assert.NoError(t, client.Flush(t.Context()), "there is nothing to wait for")
}

// blocking is a server that answers a request on demand.
type blocking struct {
	answers chan int
	waiting *atomic.Int32 // counts requests
}

func newBlocking() blocking { return blocking{make(chan int), new(atomic.Int32)} }

func (s blocking) RoundTrip(r *http.Request) (*http.Response, error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	select {
	case status := <-s.answers:
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// refusing is a server that takes nothing.
var refusing = roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })

// later runs a call in the background, until it waits.
func later(call func() error) (result <-chan error) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	synctest.Wait()
	return done
}

// inBubble runs a test in a synctest bubble with a fake server that is
// reached without a network.
func inBubble(t *testing.T, test func(t *testing.T, server *postofficetest.Server, config core.Config)) {
	t.Helper()
	server := newServer(t, "orders", "bills")
	synctest.Test(t, func(t *testing.T) {
		test(t, server, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: server.Transport()}})
	})
}

func startTestClient(t *testing.T, config core.Config) *core.Client {
	t.Helper()
	client := newTestClient(t, config)
	require.NoError(t, client.Start(t.Context()))
	return client
}

// insert puts messages into an outbox, each with a number as payload.
func insert(t *testing.T, store outbox.Store, topic string, n int) {
	t.Helper()
	list := make([]outbox.Record, n)
	for i := range list {
		id, err := uuid.NewV7()
		require.NoError(t, err)
		list[i] = outbox.Record{ID: id.String(), Topic: topic, Payload: fmt.Appendf(nil, `{"n":%d}`, i), Attributes: json.RawMessage(`{}`)}
	}
	require.NoError(t, store.Insert(t.Context(), 0, list...))
}

// failOn has a server answer 500 to every request with one of the words.
func failOn(server *postofficetest.Server, words ...string) {
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
		for _, word := range words {
			if bytes.Contains(body, []byte(word)) {
				return 500, true
			}
		}
		return 0, false
	})
}

// hanging is a server that takes connections and never answers.
var hanging = roundTripFunc(func(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
})

func numbered(n int) []any {
	payloads := make([]any, n)
	for i := range payloads {
		payloads[i] = map[string]int{"n": i}
	}
	return payloads
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}
