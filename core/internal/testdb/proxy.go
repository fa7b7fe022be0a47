package testdb

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy is a TCP proxy on 127.0.0.1, like a load balancer in front of a cluster:
// each new connection goes to the next of its targets that accepts it. Its methods
// are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mutex   sync.Mutex
	targets []string
	next    int
	links   map[net.Conn]net.Conn // the client's side and the server's
}

// NewProxy starts a proxy for addresses such as [Server.Address]. It ends with the
// test.
func NewProxy(tb testing.TB, targets ...string) *Proxy {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	p := &Proxy{listener: listener, targets: targets, links: map[net.Conn]net.Conn{}}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		_ = p.listener.Close() // fails only if closed already
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Address returns the address of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Through converts the data source name of a server to one through the proxy.
func (p *Proxy) Through(server *Server, dsn string) string {
	return strings.Replace(dsn, server.Address(), p.Address(), 1)
}

// Flip sends new connections to other addresses. Existing ones stay: see Cut.
func (p *Proxy) Flip(targets ...string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.targets = targets
}

// Cut resets every connection.
func (p *Proxy) Cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for client, server := range p.links {
		reset(client, server)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // closed before it was accepted
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// dial connects to the next target that accepts; nil if none does.
func (p *Proxy) dial() net.Conn {
	p.mutex.Lock()
	targets := append(append([]string{}, p.targets[p.next%len(p.targets):]...), p.targets[:p.next%len(p.targets)]...)
	p.next++
	p.mutex.Unlock()
	for _, target := range targets {
		if server, err := new(net.Dialer).DialContext(context.Background(), "tcp", target); err == nil {
			return server
		}
	}
	return nil
}

func (p *Proxy) serve(client net.Conn) {
	server := p.dial()
	if server == nil {
		reset(client)
		return
	}
	p.mutex.Lock()
	p.links[client] = server
	p.mutex.Unlock()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		both.Go(func() {
			_, _ = io.Copy(to, from)
			_ = from.Close()
			_ = to.Close()
		})
	}
	both.Wait()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.links, client)
}

// reset closes connections with a reset instead of a graceful close.
func reset(connections ...net.Conn) {
	for _, connection := range connections {
		_ = connection.(*net.TCPConn).SetLinger(0)
		_ = connection.Close()
	}
}
