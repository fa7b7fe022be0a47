package core_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

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

// records returns what is in an outbox.
func records(t *testing.T, store outbox.Store) []outbox.Record {
	t.Helper()
	list, err := store.List(context.Background(), outbox.Query{Limit: 100_000})
	require.NoError(t, err)
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
