package office

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits of connections.
const (
	// idleTimeout is how long an idle connection is kept. It is less than the
	// server's 60 s, because a request could otherwise use a connection that
	// the server is closing.
	idleTimeout = 50 * time.Second
	// maxIdle is the maximum number of idle connections kept for reuse.
	// Concurrent callers beyond it would dial for every message.
	maxIdle = 128
	// pingAfter is how long an HTTP/2 connection may be silent before a ping is
	// sent.
	pingAfter = 2 * time.Second
	// pingTimeout bounds the response to a ping and the write of a byte. A ping
	// may wait behind a large body: 4 MB in the system's buffer take 8 s at 0.5
	// MB/s.
	pingTimeout = 10 * time.Second
	// settleTime is how long after a request an HTTP/2 connection is certain to
	// be idle, because net/http ends its stream in the background.
	settleTime = 10 * time.Millisecond
)

// newHTTPTransport returns the default transport: a copy of
// http.DefaultTransport with the proxies and certificates of the app, or a new
// transport if the app has replaced http.DefaultTransport by another type.
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
	transport.MaxIdleConns = 0 // bounded per host, and there is one host
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

// Close closes the idle connections of the office's own transport.
func (o *Office) Close() {
	if o.owned != nil {
		o.owned.CloseIdleConnections()
	}
}

// hearing detects silent connections, which have received nothing from the
// server for as long as a request may take. With HTTP/1.1 the next request
// would use another idle connection, and with HTTP/2 the same one again, for
// minutes. After such silence, the next request therefore starts without the
// idle connections. A server that is slow with one request still responds
// others, so it is not silent.
type hearing struct {
	answers atomic.Uint64
	lost    atomic.Bool
}

// listen is called before a request. After silence it closes the idle
// connections. It returns the argument of failed.
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

// answered counts a response with any status.
func (h *hearing) answered() { h.answers.Add(1) }

// failed records a request without a response.
func (h *hearing) failed(before uint64, f *Failure) {
	if f.TimedOut && !f.Interrupted && h.answers.Load() == before {
		h.lost.Store(true)
	}
}
