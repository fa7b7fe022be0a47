package nethttp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/felixge/httpsnoop"

	"github.com/postoffice-go/postoffice/core"
)

// errReplaced is the error of hijacking a connection on which the response of
// Options.NotAccepted was sent.
var errReplaced = errors.New("postoffice: the messages of the request were not accepted, and the client has the response that says so")

// Writer returns a writer that calls start before w sends the first byte of a
// response, with its status: at the first WriteHeader with a final status,
// Write, WriteString, Flush, Hijack and ReadFrom with at least one byte. The
// status of a hijacked connection is 101, also if hijacking then fails. If start returns false, the writer
// sends nothing: it discards what is written, and Hijack returns an error. The
// writer has the optional methods of w, and Unwrap. It also has the FlushError
// and Hijack that http.ResponseController would find by the Unwrap of w, since
// they would send without a decision.
//
// It is for adapters of frameworks built on net/http, whose handlers get such
// a writer when Options.FlushOn is set; start is the Start of [core.Response].
func Writer(w http.ResponseWriter, start func(status int) bool) http.ResponseWriter {
	begins := func() bool { return start(http.StatusOK) }
	return httpsnoop.Wrap(reach(w), httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(status int) {
				if start(status) {
					next(status)
				}
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) {
				if !begins() {
					return len(b), nil
				}
				return next(b)
			}
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(s string) (int, error) {
				if !begins() {
					return len(s), nil
				}
				return next(s)
			}
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() {
				if begins() {
					next()
				}
			}
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error {
				if !begins() {
					return nil
				}
				return next()
			}
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(source io.Reader) (int64, error) { return readFrom(w, next, source, begins) }
		},
		Hijack: func(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
			return func() (net.Conn, *bufio.ReadWriter, error) {
				if !start(http.StatusSwitchingProtocols) {
					return nil, nil, errReplaced
				}
				return next()
			}
		},
	})
}

// flushError is the method by which http.ResponseController flushes, besides
// http.Flusher.
type flushError interface{ FlushError() error }

// reach returns w with the methods to flush and to hijack that only its Unwrap
// leads to.
func reach(w http.ResponseWriter) http.ResponseWriter {
	_, flushes := w.(http.Flusher)
	_, flushesWithError := w.(flushError)
	_, hijacks := w.(http.Hijacker)
	flushes = !flushes && !flushesWithError && (leadsTo[http.Flusher](w) || leadsTo[flushError](w))
	hijacks = !hijacks && leadsTo[http.Hijacker](w)
	switch {
	case flushes && hijacks:
		return struct {
			unwrapping
			flushing
			hijacking
		}{unwrapping{w}, flushing{w}, hijacking{w}}
	case flushes:
		return struct {
			unwrapping
			flushing
		}{unwrapping{w}, flushing{w}}
	case hijacks:
		return struct {
			unwrapping
			hijacking
		}{unwrapping{w}, hijacking{w}}
	}
	return w
}

// leadsTo reports whether a writer, or one that its Unwrap leads to, is a T.
func leadsTo[T any](w http.ResponseWriter) bool {
	for {
		if _, ok := w.(T); ok {
			return true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
	}
}

// unwrapping is a writer that unwraps to the original.
type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// flushing flushes what Unwrap leads to.
type flushing struct{ to http.ResponseWriter }

// FlushError flushes.
func (f flushing) FlushError() error { return http.NewResponseController(f.to).Flush() }

// hijacking hijacks what Unwrap leads to.
type hijacking struct{ to http.ResponseWriter }

// Hijack hijacks.
func (h hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.to).Hijack()
}

// sniffed is the number of bytes by which net/http detects the type of a body.
const sniffed = 512

// readFrom makes the first read itself, because a source without any bytes sends
// nothing. Like net/http, it sends what a read gives without waiting for more.
func readFrom(w io.Writer, next httpsnoop.ReadFromFunc, source io.Reader, begins func() bool) (int64, error) {
	first := make([]byte, sniffed)
	var n int
	var err error
	for n == 0 && err == nil {
		n, err = source.Read(first)
	}
	ended := errors.Is(err, io.EOF)
	if ended {
		err = nil
	}
	if n == 0 {
		return 0, err
	}
	if !begins() {
		if ended || err != nil {
			return int64(n), err
		}
		rest, copyErr := io.Copy(io.Discard, source)
		return int64(n) + rest, copyErr
	}
	written, writeErr := w.Write(first[:n])
	if ended || err != nil || writeErr != nil {
		return int64(written), errors.Join(err, writeErr)
	}
	rest, err := next(source)
	return int64(written) + rest, err
}

// wrapped returns the writer for handlers.
func wrapped(w http.ResponseWriter) http.ResponseWriter {
	if response, ok := w.(*core.Response); ok {
		return Writer(response.ResponseWriter, response.Start)
	}
	return w
}
