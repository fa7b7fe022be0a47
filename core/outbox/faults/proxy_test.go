//go:build unix

package faults

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdict says what a proxy does with data on their way to the server.
type verdict int

const (
	// pass forwards them.
	pass verdict = iota
	// reset cuts the connection before they are forwarded.
	reset
	// forwardAndReset forwards them, and what the server answers is lost: the
	// client's side is cut before.
	forwardAndReset
	// freeze forwards nothing more, in either direction, and leaves the
	// connection open: to both sides it looks as if the other one were silent.
	freeze
)

// proxy is a TCP proxy that breaks connections.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	links map[*link]bool
	// judge makes the function that judges the data of one connection, in the
	// pieces in which they come; nil for one that passes everything.
	judge func() func(data []byte) verdict
}

// newProxy starts a proxy of a TCP address. It ends with the test.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target, links: map[*link]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

// finish takes no more connections and waits until those that there are have
// ended by themselves.
func (p *proxy) finish() {
	_ = p.listener.Close()
	p.running.Wait()
}

// stop ends the proxy and its connections.
func (p *proxy) stop() {
	_ = p.listener.Close()
	p.closeAll()
	p.running.Wait()
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// behave has the proxy judge new connections from now on; nil ends it.
func (p *proxy) behave(judge func() func([]byte) verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = judge
}

// closeAll cuts every connection.
func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{client: client.(*net.TCPConn), server: server.(*net.TCPConn), frozen: make(chan struct{}), gone: make(chan struct{})}
		judge := func([]byte) verdict { return pass }
		p.mu.Lock()
		p.links[l] = true
		if p.judge != nil {
			judge = p.judge()
		}
		p.mu.Unlock()
		p.running.Go(func() {
			defer p.forget(l)
			var both sync.WaitGroup
			both.Go(func() { l.forward(judge) })
			both.Go(l.answer)
			both.Wait()
		})
	}
}

func (p *proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// link is a connection through a proxy.
type link struct {
	client, server *net.TCPConn
	frozen, gone   chan struct{}
	once           sync.Once
}

// cut resets both sides.
func (l *link) cut() {
	l.once.Do(func() {
		for _, conn := range []*net.TCPConn{l.client, l.server} {
			_ = conn.SetLinger(0) // a reset instead of an orderly end
			_ = conn.Close()
		}
		close(l.gone)
	})
}

// forward carries data to the server, as they are judged.
func (l *link) forward(judge func([]byte) verdict) {
	defer l.cut()
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.client.Read(buffer)
		if n > 0 {
			switch judge(buffer[:n]) {
			case reset:
				return
			case freeze:
				close(l.frozen)
				_, _ = io.Copy(io.Discard, l.client) // until the client gives up
				return
			case forwardAndReset:
				l.hangUp(buffer[:n])
				return
			case pass:
				if _, err := l.server.Write(buffer[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// hangUp cuts the client off, then forwards its last data, and ends the
// connection to the server in an orderly way, so that it gets all of them.
func (l *link) hangUp(last []byte) {
	_ = l.client.SetLinger(0)
	_ = l.client.Close()
	_, _ = l.server.Write(last)
	_ = l.server.CloseWrite()
	_, _ = io.Copy(io.Discard, l.server)
}

// answer carries data back to the client.
func (l *link) answer() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.server.Read(buffer)
		if n > 0 {
			select {
			case <-l.frozen:
				<-l.gone
				return
			default:
			}
			if _, err := l.client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			l.cut()
			return
		}
	}
}
