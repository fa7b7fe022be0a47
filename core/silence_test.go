package core_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// line forwards TCP connections to a server, until it is told to be silent on
// the ones that it has: they stay open, and nothing comes through any more.
type line struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns []*lineConn
	open  sync.WaitGroup
}

type lineConn struct {
	near, far net.Conn
	silent    chan struct{}
	silence   sync.Once
	ended     chan struct{} // closed when the client has closed it
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{listener: listener, target: target}
	l.open.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		for _, c := range l.all() {
			_, _ = c.near.Close(), c.far.Close()
		}
		l.open.Wait()
	})
	return l
}

func (l *line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			return
		}
		c := &lineConn{near: near, far: far, silent: make(chan struct{}), ended: make(chan struct{})}
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
		l.open.Go(func() {
			c.forward(far, near)
			close(c.ended)
		})
		l.open.Go(func() { c.forward(near, far) })
	}
}

// forward copies what comes, and swallows it once the connection is silent.
func (c *lineConn) forward(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-c.silent:
		default:
			if n > 0 {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				_ = to.Close()
			}
		}
		if err != nil {
			return
		}
	}
}

// all returns the connections that there have been.
func (l *line) all() []*lineConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*lineConn(nil), l.conns...)
}

// silence makes the connections that there are silent.
func (l *line) silence() {
	for _, c := range l.all() {
		c.silence.Do(func() { close(c.silent) })
	}
}

// secureServer answers messages over TLS, and counts them by protocol.
func secureServer(t *testing.T, http2 bool) (server *httptest.Server, protocols func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		seen = append(seen, r.Proto)
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":[1]}`)
	}))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

// certificatesOf lets a transport trust a server.
func certificatesOf(server *httptest.Server) *tls.Config {
	return server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// A connection on which nothing comes any more costs one request its time.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		http2 bool
		// transport is the app's; nil for one of our own.
		transport func(*tls.Config) *http.Transport
	}{
		"HTTP/1.1": {http2: false},
		"HTTP/2":   {http2: true},
		"HTTP/2 of the app": {http2: true, transport: func(c *tls.Config) *http.Transport {
			return &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server, protocols := secureServer(t, test.http2)
			way := newLine(t, server.Listener.Addr().String())
			config := core.Config{URL: "https://" + way.listener.Addr().String(), Timeout: 500 * time.Millisecond}
			if test.transport != nil {
				app := test.transport(certificatesOf(server))
				t.Cleanup(app.CloseIdleConnections)
				config.HTTPClient = &http.Client{Transport: app}
			}
			client := clientOver(t, config, func(transport *http.Transport) { transport.TLSClientConfig = certificatesOf(server) })
			t.Parallel()
			// A busy machine may take its time for the first connection.
			require.Eventually(t, func() bool {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				return err == nil
			}, time.Minute, time.Millisecond)

			way.silence()
			failed := 0
			for ; failed < 10; failed++ {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				if err == nil {
					break
				}
				require.ErrorIs(t, err, core.ErrNotAccepted)
			}
			assert.LessOrEqual(t, failed, 3, "one, and some for a busy machine")
			assert.Positive(t, failed)
			if test.http2 {
				assert.Subset(t, []string{"HTTP/2.0"}, protocols())
			}
		})
	}
}

// deafConn is a client's connection on which, once it is deaf, nothing goes
// through in either direction.
type deafConn struct {
	net.Conn
	deaf  *atomic.Bool
	ended chan struct{} // closed when the client has closed it
	once  sync.Once
}

func (c *deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.deaf.Load() {
			return n, err
		}
	}
}

func (c *deafConn) Write(p []byte) (int, error) {
	if c.deaf.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}

// An idle HTTP/2 connection that is silent is closed before a message meets it,
// and long before idle connections are.
func TestSilentHTTP2ConnectionIsPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		var protocols []string
		server := &httptest.Server{Listener: listener, EnableHTTP2: true, Config: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				protocols = append(protocols, r.Proto)
				w.WriteHeader(http.StatusCreated)
			}),
		}}
		server.StartTLS()
		defer server.Close()
		var conns []*deafConn
		client := clientOver(t, core.Config{URL: "https://example.com", Timeout: time.Minute}, func(transport *http.Transport) {
			transport.TLSClientConfig = certificatesOf(server)
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := listener.dial(ctx, network, address)
				conns = append(conns, &deafConn{Conn: conn, deaf: new(atomic.Bool), ended: make(chan struct{})})
				return conns[len(conns)-1], err
			}
		})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		conns[0].deaf.Store(true)
		select {
		case <-conns[0].ended:
		case <-time.After(15 * time.Second):
			require.Fail(t, "the connection is kept")
		}
		_, err = client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Len(t, conns, 2)
		assert.Equal(t, []string{"HTTP/2.0", "HTTP/2.0"}, protocols)
		require.NoError(t, client.Stop(t.Context()))
	})
}

// A server that is slow to answer some requests, and answers others, keeps its
// connections.
func TestSlowAnswersDoNotCloseOtherConnections(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "slow") {
			arrive()
			<-release
		}
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	way := newLine(t, server.Listener.Addr().String())
	client := newTestClient(t, core.Config{URL: "http://" + way.listener.Addr().String(), Timeout: 2 * time.Second})
	slow := make(chan error)
	go func() {
		_, err := client.Publish(t.Context(), "slow", struct{}{})
		slow <- err
	}()
	<-arrived // so that the others need one more connection, and not the one that is dialled for this
	for {
		_, err := client.Publish(t.Context(), "fast", struct{}{})
		require.NoError(t, err)
		select {
		case err := <-slow:
			require.ErrorIs(t, err, core.ErrNotAccepted)
			_, err = client.Publish(t.Context(), "fast", struct{}{})
			require.NoError(t, err)
			assert.Len(t, way.all(), 2, "one for each kind")
			return
		default:
		}
	}
}
