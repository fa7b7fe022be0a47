package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// post is a request with messages, as a server sees it.
type post struct {
	path, topic string
	payloads    []string
	size        int // of the body
}

// has tells whether a payload contains a text.
func (p post) has(text string) bool {
	for _, payload := range p.payloads {
		if strings.Contains(payload, text) {
			return true
		}
	}
	return false
}

// reset is the verdict on a request whose connection breaks.
const reset = 0

// verdict is what becomes of a request: a status, or reset.
type verdict struct {
	status int
	header http.Header
	after  time.Duration // how long the server needs
}

// taken is the verdict on a request that the server accepts at once.
var taken = verdict{status: http.StatusCreated}

// bubbleServer is a server in a bubble of testing/synctest: it answers in
// memory, and takes its time by the bubble's clock. Like a real one it goes on
// with a request whose client has given up.
type bubbleServer struct {
	judge func(post) verdict // nil takes everything

	mu      sync.Mutex
	posts   []post
	arrived map[string]int // by payload
	topics  int            // requests that create topics
}

func (s *bubbleServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body := make([]byte, max(r.ContentLength, 0))
	if r.Body != nil {
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	v := s.receive(r.URL.Path, body)
	select {
	case <-time.After(v.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if v.status == reset {
		return nil, syscall.ECONNRESET
	}
	answer := `{"errors":{"detail":"Internal Server Error"}}`
	switch {
	case v.status == http.StatusCreated && strings.Contains(r.URL.Path, "bulk"):
		answer = `{"result":[1]}`
	case v.status == http.StatusCreated:
		answer = `{"id":[1]}`
	case v.status == http.StatusNotAcceptable:
		answer = `{"data":{"errors":"Topic does not exist"}}`
	}
	return &http.Response{
		StatusCode: v.status, Header: v.header, Body: io.NopCloser(strings.NewReader(answer)),
		ContentLength: int64(len(answer)), Request: r,
	}, nil
}

// receive notes a request and decides what becomes of it.
func (s *bubbleServer) receive(path string, body []byte) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(path, "message") {
		s.topics++
		return taken
	}
	var request struct {
		Topic   string
		Payload json.RawMessage
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return verdict{status: http.StatusBadRequest}
	}
	p := post{path: path, topic: request.Topic, size: len(body), payloads: []string{string(request.Payload)}}
	var list []json.RawMessage
	if strings.Contains(path, "bulk") && json.Unmarshal(request.Payload, &list) == nil {
		p.payloads = nil
		for _, payload := range list {
			p.payloads = append(p.payloads, string(payload))
		}
	}
	s.posts = append(s.posts, p)
	v := taken
	if s.judge != nil {
		v = s.judge(p)
	}
	if v.status == http.StatusCreated {
		if s.arrived == nil {
			s.arrived = map[string]int{}
		}
		for _, payload := range p.payloads {
			s.arrived[payload]++
		}
	}
	return v
}

// requests counts the requests with messages.
func (s *bubbleServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.posts)
}

// count counts the arrivals of payloads that contain a text, and the
// different ones of them.
func (s *bubbleServer) count(text string) (arrivals, different int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for payload, times := range s.arrived {
		if strings.Contains(payload, text) {
			arrivals += times
			different++
		}
	}
	return arrivals, different
}

// breakerChanges collects what an Observer is told of the circuit breaker.
type breakerChanges struct {
	mu   sync.Mutex
	list []core.BreakerState
}

func (b *breakerChanges) add(state core.BreakerState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, state)
}

func (b *breakerChanges) all() []core.BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]core.BreakerState(nil), b.list...)
}

// bubbleClient makes a client of a server in a bubble, and stops it when the
// test ends.
func bubbleClient(t *testing.T, server http.RoundTripper, config core.Config) (*core.Client, *breakerChanges) {
	t.Helper()
	changes := &breakerChanges{}
	config.URL, config.HTTPClient = "http://postoffice.test", &http.Client{Transport: server}
	config.Logger, config.Observer.Breaker = slog.New(slog.DiscardHandler), changes.add
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Stop(context.Background())) })
	return client, changes
}

// insertPayloads puts messages of a topic into an outbox.
func insertPayloads(t *testing.T, store outbox.Store, topic string, payloads []any) {
	t.Helper()
	records := make([]outbox.Record, len(payloads))
	for i, payload := range payloads {
		text, err := json.Marshal(payload)
		require.NoError(t, err)
		records[i] = outbox.Record{ID: uuid.Must(uuid.NewV7()).String(), Topic: topic, Payload: text, Attributes: json.RawMessage(`{}`)}
	}
	require.NoError(t, store.Insert(t.Context(), 0, records...))
}

// stillStored counts the messages in an outbox.
func stillStored(t *testing.T, store outbox.Store) int {
	t.Helper()
	stats, err := store.Stats(t.Context())
	require.NoError(t, err)
	return stats.Pending + stats.Dead
}

// kinds makes payloads: so many of each kind, in an order that looks random and
// is always the same.
func kinds(good, poison int) []any {
	var payloads []any
	for i := range good {
		payloads = append(payloads, map[string]string{"good": fmt.Sprint(i)})
	}
	for i := range poison {
		payloads = append(payloads, map[string]string{"poison": fmt.Sprint(i)})
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(payloads), func(i, j int) { payloads[i], payloads[j] = payloads[j], payloads[i] })
	return payloads
}
