package core_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// An app may put anything in the place of http.DefaultTransport.
func TestNewClientAssumesNothingOfDefaultTransport(t *testing.T) {
	server := newServer(t, "orders")
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	var none *http.Transport
	for _, replaced := range []http.RoundTripper{
		roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }), none, nil,
	} {
		http.DefaultTransport = replaced
		client := newTestClient(t, core.Config{URL: server.URL()})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err, "%T", replaced)
	}
	proxied := before.(*http.Transport).Clone()
	proxied.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(server.URL()) }
	http.DefaultTransport = proxied
	_, err := newTestClient(t, core.Config{URL: "http://postoffice.test"}).Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err, "what an app has set there counts")
}

// An app's http.RoundTripper may change what it is given, as a gateway's does.
func TestRequestsShareNothingWithAnAppsTransport(t *testing.T) {
	server := newServer(t, "orders")
	var mu sync.Mutex
	var seen []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.URL.RequestURI()+" "+strings.Join(r.Header["X-Tenant"], ","))
		mu.Unlock()
		http.StripPrefix("/gateway", server.Handler()).ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	rewriting := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		r.URL.Path = "/gateway" + r.URL.Path
		r.URL.RawQuery += "&tenant=7"
		r.URL.Host = gateway.Listener.Addr().String()
		r.Header.Add("X-Tenant", "7")
		return gateway.Client().Transport.RoundTrip(r)
	})
	client := newTestClient(t, core.Config{
		URL: "http://postoffice.test", HTTPClient: &http.Client{Transport: rewriting}, PostsPerTopic: -1,
	})
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 3 {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				assert.NoError(t, err)
				assert.NoError(t, client.Health(t.Context()))
			}
		})
	}
	calls.Wait()
	require.Len(t, seen, 24)
	for _, request := range seen {
		assert.Contains(t, []string{"/gateway/api/messages?&tenant=7 7", "/gateway/api/health?&tenant=7 7"}, request)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	statuses := []int{201, 500, 400, 404, 201, 406}
	var next atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(statuses[int(next.Add(1)-1)%len(statuses)])
		_, _ = io.WriteString(w, strings.Repeat(" ", 64<<10)+messageReply)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := newTestClient(t, core.Config{URL: server.URL})
	for range 5 * len(statuses) {
		_, _ = client.Publish(t.Context(), "orders", struct{}{})
	}
	assert.EqualValues(t, 5*len(statuses), next.Load())
	assert.EqualValues(t, 1, connections.Load())
}

func TestBrokenConnectionIsTriedAgain(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests.Add(1) == 1 {
			panic(http.ErrAbortHandler) // cuts the connection
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, messageReply)
	}))
	defer server.Close()
	client := newTestClient(t, core.Config{URL: server.URL})
	receipt, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	assert.Equal(t, []int64{12, 11}, receipt.Jobs)
	assert.EqualValues(t, 2, requests.Load())
}

func TestServerThatClosesConnectionsIsMetWithoutErrors(t *testing.T) {
	// The server closes each connection after 1000 answers.
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL(), Timeout: time.Minute})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for range 1500 {
				_, err := client.Publish(context.Background(), "orders", struct{}{})
				assert.NoError(t, err)
			}
		})
	}
	running.Wait()
	assert.Len(t, payloadsOf(server, "orders"), 3000, "each once")
}

func TestOnlyOurOwnRetrySendsARequestTwice(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests.Add(1) > 1 {
			panic(http.ErrAbortHandler) // on a connection that is used again
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, messageReply)
	}))
	defer server.Close()
	client := newTestClient(t, core.Config{URL: server.URL})
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	_, err = client.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	assert.EqualValues(t, 3, requests.Load())
}

// pipes are the connections of a server in a bubble.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    sync.Once
}

func newPipes() *pipes { return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.accepted <- far
	return near, nil
}

// The server closes a connection that was idle for a minute.
func TestIdleConnectionsAreClosedBeforeTheServerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, all atomic.Int32
		listener := newPipes()
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }),
			ConnState: func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					open.Add(1)
					all.Add(1)
				case http.StateClosed:
					open.Add(-1)
				}
			},
		}
		go func() { _ = server.Serve(listener) }()
		defer func() { assert.NoError(t, server.Close()) }()
		client := clientOver(t, core.Config{URL: testServer}, func(transport *http.Transport) { transport.DialContext = listener.dial })
		for range 3 {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
			time.Sleep(30 * time.Second)
		}
		assert.EqualValues(t, 1, all.Load(), "the connection is used again")
		time.Sleep(29 * time.Second)
		synctest.Wait()
		assert.Zero(t, open.Load())
	})
}

// clientOver makes a client with connections of its own that are made as a
// change of http.DefaultTransport says. No other test may run at that time.
func clientOver(t *testing.T, config core.Config, change func(*http.Transport)) *core.Client {
	t.Helper()
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	transport := before.(*http.Transport).Clone()
	change(transport)
	http.DefaultTransport = transport
	return newTestClient(t, config)
}
