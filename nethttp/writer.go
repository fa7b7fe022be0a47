package nethttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/felixge/httpsnoop"
)

// watched is the writer that core.Client.Serve gets with FlushOn. Handlers get
// the one in it, which has exactly the optional methods of the original.
type watched struct {
	http.ResponseWriter
	status *atomic.Int32 // handlers may leave goroutines behind that write
}

// Status returns the status that was sent, zero for none.
func (w watched) Status() int { return int(w.status.Load()) }

// handed returns the writer for the handler.
func handed(w http.ResponseWriter) http.ResponseWriter {
	if w, ok := w.(watched); ok {
		return w.ResponseWriter
	}
	return w
}

// watch wraps a writer to see the status that is sent, if FlushOn asks for it.
//
// The first status is the one the client gets: what is written or flushed
// without one sends 200, and a status set afterwards goes nowhere. That
// holds for a hijacked connection, too: what is sent on it is the handler's
// own.
func watch(w http.ResponseWriter, options Options) http.ResponseWriter {
	if options.FlushOn == nil {
		return w
	}
	status := &atomic.Int32{}
	sent := func(code int) { status.CompareAndSwap(0, int32(code)) }
	return watched{status: status, ResponseWriter: httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) {
				next(code) // panics for a code that cannot be sent
				if code >= http.StatusOK || code == http.StatusSwitchingProtocols {
					sent(code) // others are informational: another status follows
				}
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) { sent(http.StatusOK); return next(b) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { sent(http.StatusOK); next() }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) {
				n, err := next(src)
				if n > 0 { // a source without a byte sends nothing
					sent(http.StatusOK)
				}
				return n, err
			}
		},
		Hijack: func(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
			return func() (net.Conn, *bufio.ReadWriter, error) {
				conn, buffer, err := next()
				if err == nil {
					sent(http.StatusOK)
				}
				return conn, buffer, err
			}
		},
	})}
}
