package postofficetest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limited is a context that ends long after everything should have happened.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// newClient is an HTTP client with connections of its own.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// reply is an answer that was read to its end.
type reply struct {
	status, protocol int
	header           http.Header
	closes           bool
	body             string
}

// send makes one request.
func send(t *testing.T, client *http.Client, method, url, contentType, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", contentType)
	response, err := client.Do(request)
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return reply{response.StatusCode, response.ProtoMajor, response.Header, response.Close, string(answer)}
}

// post sends JSON and returns the status and the body.
func post(t *testing.T, server *postofficetest.Server, path, body string) (int, string) {
	t.Helper()
	answer := send(t, newClient(t), http.MethodPost, server.URL()+path, "application/json", body)
	return answer.status, answer.body
}

// publish posts a message that must be accepted.
func publish(t *testing.T, server *postofficetest.Server, topic, payload string) {
	t.Helper()
	status, answer := post(t, server, wire.MessagePath, `{"topic":"`+topic+`","payload":`+payload+`,"attributes":{"a":"b"}}`)
	require.Equal(t, http.StatusCreated, status, answer)
}

// received is a request that a consumer or origin host got.
type received struct {
	method, uri string
	header      http.Header
	length      int64
	body        string
}

// peer is a consumer or an origin host.
type peer struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

// newPeer starts a peer that answers as the function says, and 200 without
// one.
func newPeer(t *testing.T, handle http.HandlerFunc) *peer {
	t.Helper()
	p := &peer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.got = append(p.got, received{r.Method, r.RequestURI, r.Header, r.ContentLength, string(body)})
		p.mu.Unlock()
		if handle != nil {
			handle(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) requests() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.got...)
}

// addTopic creates a topic with consumers at the targets.
func addTopic(t *testing.T, server *postofficetest.Server, name string, targets ...string) {
	t.Helper()
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: name, OriginHost: "http://127.0.0.1:9/none/"}))
	for _, target := range targets {
		_, err := server.AddConsumer(postofficetest.Consumer{Topic: name, Target: target})
		require.NoError(t, err)
	}
}
