package core

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Figures of connections.
const (
	// idleTimeout is when an idle connection is closed: before the server
	// does so, after 60 s, so that no message meets a closing connection.
	idleTimeout = 50 * time.Second
	// maxIdle is how many connections are kept for reuse. With fewer than
	// there are concurrent callers, the rest dial anew for every message.
	maxIdle = 128
	// pingAfter is how long an HTTP/2 connection may be silent before it is
	// asked for a sign of life.
	pingAfter = 2 * time.Second
	// pingTimeout is how long that sign may take, and a byte to be written. It
	// may have to wait for a large body that is being sent: 4 MB in the
	// system's buffer take 8 s at 0.5 MB/s.
	pingTimeout = 10 * time.Second
	// settleTime is how long after a request an HTTP/2 connection surely counts
	// as idle: net/http ends its stream in the background.
	settleTime = 10 * time.Millisecond
)

// newHTTPTransport makes the transport of a client's own. It is a copy of
// http.DefaultTransport, with the proxies and certificates that an app has set
// there, unless the app has put something else in its place.
func newHTTPTransport() *http.Transport {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	if global, ok := http.DefaultTransport.(*http.Transport); ok && global != nil {
		transport = global.Clone()
	}
	transport.IdleConnTimeout = idleTimeout
	transport.MaxIdleConns = 0 // bounded by host, and there is one host
	transport.MaxIdleConnsPerHost = maxIdle
	transport.DisableCompression = true // the server never compresses
	var http2 http.HTTP2Config
	if transport.HTTP2 != nil {
		http2 = *transport.HTTP2
	}
	http2.SendPingTimeout = cmp.Or(http2.SendPingTimeout, pingAfter)
	http2.PingTimeout = cmp.Or(http2.PingTimeout, pingTimeout)
	http2.WriteByteTimeout = cmp.Or(http2.WriteByteTimeout, pingTimeout)
	transport.HTTP2 = &http2
	return transport
}

// close ends the idle connections of a transport of our own.
func (t *transport) close() {
	if t.owned != nil {
		t.owned.CloseIdleConnections()
	}
}

// hearing notices connections that are silent: nothing came from the server,
// on any of them, for as long as a request may take. With HTTP/1.1 the next
// request would try the next idle connection, and with HTTP/2 the same one
// again, for minutes. So it begins without the idle ones. A server that is only
// slow to answer one request goes on answering others.
type hearing struct {
	answers atomic.Uint64
	lost    atomic.Bool
}

// listen is called before a request. It closes the idle connections after
// silence, and returns what failed wants to know.
func (h *hearing) listen(ctx context.Context, roundTripper http.RoundTripper) (before uint64) {
	if h.lost.Load() && h.lost.Swap(false) {
		closeIdle(ctx, roundTripper)
	}
	return h.answers.Load()
}

func closeIdle(ctx context.Context, roundTripper http.RoundTripper) {
	closer, ok := roundTripper.(interface{ CloseIdleConnections() })
	if !ok {
		return
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
	}
	closer.CloseIdleConnections()
}

// answered notes an answer, whatever it says.
func (h *hearing) answered() { h.answers.Add(1) }

// failed notes a request that got none.
func (h *hearing) failed(before uint64, f *failure) {
	if f.timedOut && !f.interrupted && h.answers.Load() == before {
		h.lost.Store(true)
	}
}
