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

// errReplaced is the error of Hijack after the response of Options.NotAccepted
// was sent.
var errReplaced = errors.New("postoffice: cannot hijack: the messages of the request were not accepted, and the response was sent")

// Writer returns a writer that calls start, with the status of the response,
// before w sends its first byte: at the first WriteHeader with a final status,
// Write, WriteString, Flush, Hijack, or ReadFrom with at least one byte. The
// status of a hijacked connection is 101, even if hijacking then fails. If
// start returns false, the writer sends nothing: it discards the response, and
// Hijack returns an error.
//
// The writer has the optional methods of w, and Unwrap. It also has FlushError
// and Hijack if http.ResponseController would find them through the Unwrap of
// w, because these would send without calling start.
//
// Writer is for adapters of frameworks built on net/http, whose handlers get
// such a writer if Options.FlushOn is set; start is the Start of
// [core.Response].
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

// flushError is the method, other than that of http.Flusher, by which
// http.ResponseController flushes.
type flushError interface{ FlushError() error }

// reach returns w with the methods to flush and to hijack that are only
// reachable through its Unwrap.
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

// leadsTo reports whether a writer, or one reachable through its Unwrap, is a
// T.
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

// flushing flushes a writer through its Unwrap.
type flushing struct{ to http.ResponseWriter }

// FlushError flushes the response.
func (f flushing) FlushError() error { return http.NewResponseController(f.to).Flush() }

// hijacking hijacks the connection of a writer through its Unwrap.
type hijacking struct{ to http.ResponseWriter }

// Hijack takes over the connection.
func (h hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.to).Hijack()
}

// sniffed is the number of bytes from which net/http detects the type of a
// body.
const sniffed = 512

// readFrom does the first read itself, because a source without any bytes sends
// nothing. Like net/http, it sends the result of each read without waiting for
// more.
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
