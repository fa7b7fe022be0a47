package postofficetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ErrClosed means that the server is closed.
var ErrClosed = errors.New("postofficetest: server is closed")

// Times and counts after which the recorded server ends connections.
const (
	headTimeout           = 5 * time.Second
	idleTimeout           = time.Minute
	requestsPerConnection = 1000
)

// Server is a fake Postoffice server. Its methods are safe for concurrent use.
// Create one with [NewServer], [Start] or [Listen].
type Server struct {
	settings settings
	url      string
	faults   faults
	cores    cores

	// For deliveries and the rescuer's requests.
	transport *http.Transport
	ctx       context.Context //nolint:containedctx // ends the server's own work
	cancel    context.CancelFunc
	tasks     tasks

	// listening guards the listener's state, which Stop and Restart change.
	listening sync.Mutex
	address   string
	current   *listener

	// advancing is held by Advance, so that only one runs at a time.
	advancing sync.Mutex

	mu sync.Mutex
	store
	deliveries
	watch
	closed bool
}

// NewServer starts a server on a free port of 127.0.0.1. The caller closes it.
// NewServer panics if it cannot listen, like net/http/httptest, or if an option is
// invalid.
func NewServer(options ...Option) *Server {
	server, err := Listen("127.0.0.1:0", options...)
	if err != nil {
		panic(err)
	}
	return server
}

// Start starts a server for a test, on a free port of 127.0.0.1, and closes it when
// the test ends. The test fails if the server cannot listen or an option is invalid.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	server, err := Listen("127.0.0.1:0", options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	return server
}

// Listen starts a server on the given TCP address, such as "127.0.0.1:4000", for
// programs. The error says why it cannot listen there, or which option is invalid.
func Listen(address string, options ...Option) (*Server, error) {
	chosen, err := settingsOf(options)
	if err != nil {
		return nil, err
	}
	s := &Server{settings: chosen, address: address}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ctx.Done() // creates the channel here: the first caller might be in a bubble of testing/synctest
	s.transport = &http.Transport{
		DisableCompression:  true, // no Accept-Encoding header
		MaxIdleConns:        poolSize,
		MaxIdleConnsPerHost: poolSize,
		IdleConnTimeout:     idleTimeout,
	}
	s.store = newStore()
	s.watchers = make(map[chan struct{}]bool)
	s.deliveries = newDeliveries(s.settings)
	if err := s.restore(); err != nil {
		s.cancel()
		return nil, err
	}
	if err := s.Restart(); err != nil {
		s.cancel()
		return nil, err
	}
	s.url = "http://" + s.address
	if s.settings.realTime {
		s.tasks.Go(s.followWallClock)
	}
	return s, nil
}

// URL returns the server's base URL, such as "http://127.0.0.1:40123". Stop and
// Restart do not change it.
func (s *Server) URL() string { return s.url }

// Handler returns the server's API as a handler that can be mounted elsewhere and
// shares the server's state. Stop does not affect requests through it. To cut a
// connection it panics with http.ErrAbortHandler, as handlers do.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Close ends the listener, connections, deliveries and rescuer runs. The recorded
// data can still be read. Closing again has no effect.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.notify()
	s.mu.Unlock()
	s.cancel()
	s.Stop()
	s.tasks.Wait()
	s.transport.CloseIdleConnections()
}

// Stop simulates an outage: connections are cut, including those with a request in
// progress, and new ones refused. The server keeps its data and continues to
// deliver. Stopping again has no effect.
func (s *Server) Stop() {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.current != nil {
		s.current.closing.Store(true)
		s.mu.Lock()
		s.notify() // requests in progress
		s.mu.Unlock()
		s.current.close()
		s.current = nil
	}
}

// Restart listens again on the same address after Stop. It has no effect if the
// server is listening. The error is ErrClosed, or says why the address is not
// available.
func (s *Server) Restart() error {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	if s.current != nil {
		return nil
	}
	socket, err := new(net.ListenConfig).Listen(s.ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("postofficetest: %w", err)
	}
	s.address = socket.Addr().String()
	s.current = listen(socket, s.front())
	return nil
}

// listener serves one listening socket and tracks its connections, so that closing
// can wait for their goroutines.
type listener struct {
	server  *http.Server
	served  chan struct{}
	closing atomic.Bool // its connections are being cut

	mu    sync.Mutex
	conns map[net.Conn]bool
	empty *sync.Cond
}

// listen serves the socket.
func listen(socket net.Listener, handler http.Handler) *listener {
	l := &listener{served: make(chan struct{}), conns: make(map[net.Conn]bool)}
	l.empty = sync.NewCond(&l.mu)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	l.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		Protocols:         protocols,
		ConnState:         l.track,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, &connection{listener: l})
		},
	}
	go func() {
		defer close(l.served)
		_ = l.server.Serve(expectListener{socket}) // ends with ErrServerClosed
	}()
	return l
}

// track keeps the set of open connections.
func (l *listener) track(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.conns[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, conn)
		if len(l.conns) == 0 {
			l.empty.Broadcast()
		}
	default: // still open
	}
}

// close closes the socket and all connections, and waits until their goroutines have
// ended.
func (l *listener) close() {
	_ = l.server.Close()
	<-l.served
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.conns) > 0 {
		l.empty.Wait()
	}
}
