package nethttp_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/nethttp"
)

// watching makes a middleware that tells what FlushOn is asked about each
// request.
func watching(t *testing.T) (func(http.Handler) http.Handler, <-chan core.Outcome) {
	t.Helper()
	client, _ := newClient(t)
	outcomes := make(chan core.Outcome, 1)
	middleware := nethttp.Middleware(client, nethttp.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
		outcomes <- outcome
		return true
	}})
	return func(next http.Handler) http.Handler {
		return middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", map[string]int{})
			assert.NoError(t, err)
			next.ServeHTTP(w, r)
		}))
	}, outcomes
}

// next returns what FlushOn is asked next.
func next(t *testing.T, outcomes <-chan core.Outcome) core.Outcome {
	t.Helper()
	select {
	case outcome := <-outcomes:
		return outcome
	case <-time.After(30 * time.Second):
		t.Error("FlushOn is not asked")
		return core.Outcome{}
	}
}

// onlyReader hides WriteTo, so that io.Copy uses the writer's ReadFrom.
type onlyReader struct{ io.Reader }

// failing is a source that fails before it gives anything.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestStatus answers in ways in which the status of the last WriteHeader is
// not that of the answer.
func TestStatus(t *testing.T) {
	const ignored = http.StatusInternalServerError
	tests := map[string]struct {
		handler func(w http.ResponseWriter)
		want    int
	}{
		"None":             {func(http.ResponseWriter) {}, 200},
		"Twice":            {func(w http.ResponseWriter) { w.WriteHeader(404); w.WriteHeader(ignored) }, 404},
		"AfterWrite":       {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")); w.WriteHeader(ignored) }, 200},
		"AfterEmptyWrite":  {func(w http.ResponseWriter) { _, _ = w.Write(nil); w.WriteHeader(ignored) }, 200},
		"AfterWriteString": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x"); w.WriteHeader(ignored) }, 200},
		"AfterFlush":       {func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.WriteHeader(ignored) }, 200},
		"AfterFlushError": {func(w http.ResponseWriter) {
			assert.NoError(t, http.NewResponseController(w).Flush())
			w.WriteHeader(ignored)
		}, 200},
		"AfterCopy": {func(w http.ResponseWriter) {
			n, err := io.Copy(w, onlyReader{strings.NewReader("x")})
			assert.NoError(t, err)
			assert.EqualValues(t, 1, n)
			w.WriteHeader(ignored)
		}, 200},
		"AfterCopyOfNothing": {func(w http.ResponseWriter) {
			_, err := io.Copy(w, onlyReader{failing{}})
			assert.Error(t, err)
			http.Error(w, "bad source", http.StatusBadGateway)
		}, 502},
		"CopyAfterStatus": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.Copy(w, onlyReader{strings.NewReader("x")})
		}, 503},
		"EarlyHints":      {func(w http.ResponseWriter) { w.WriteHeader(103) }, 200},
		"EarlyHintsFirst": {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(103); w.WriteHeader(503) }, 503},
		"Invalid": {func(w http.ResponseWriter) {
			assert.Panics(t, func() { w.WriteHeader(1) })
			w.WriteHeader(503)
		}, 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			middleware, outcomes := watching(t)
			server := httptest.NewUnstartedServer(middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.handler(w) })))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			response, err := server.Client().Get(server.URL)
			require.NoError(t, err)
			assert.NoError(t, response.Body.Close())
			assert.Equal(t, test.want, response.StatusCode, "what the client gets")
			assert.Equal(t, core.Outcome{Status: test.want}, next(t, outcomes))
		})
	}
}

// flushing is a source that flushes the response before each read.
type flushing struct {
	io.Reader
	to http.ResponseWriter
}

func (f flushing) Read(b []byte) (int, error) {
	if err := http.NewResponseController(f.to).Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

// TestCopySendsWhatThereIs copies from a source that gives more only when the
// client has what it gave before.
func TestCopySendsWhatThereIs(t *testing.T) {
	middleware, _ := watching(t)
	source, sink := io.Pipe()
	server := httptest.NewServer(middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, flushing{source, w})
		assert.NoError(t, err)
		assert.EqualValues(t, 10, n)
	})))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer func() { _ = sink.Close() }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	response, err := server.Client().Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	for range 2 {
		_, err = sink.Write([]byte("hello"))
		require.NoError(t, err)
		got := make([]byte, 5)
		_, err = io.ReadFull(response.Body, got)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
	}
}

func TestStatusOfAHijackedConnection(t *testing.T) {
	tests := map[string]struct {
		before, want int
	}{
		"Alone":       {0, 101},
		"AfterStatus": {http.StatusServiceUnavailable, 503},
		"Upgrade":     {http.StatusSwitchingProtocols, 101},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			middleware, outcomes := watching(t)
			server := httptest.NewUnstartedServer(middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.before != 0 {
					w.WriteHeader(test.before)
				}
				conn, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					assert.NoError(t, conn.Close())
				}
				w.WriteHeader(http.StatusInternalServerError) // goes nowhere
				_, err = w.Write([]byte("x"))
				assert.ErrorIs(t, err, http.ErrHijacked)
			})))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			require.NoError(t, err)
			assert.Equal(t, core.Outcome{Status: test.want}, next(t, outcomes))
		})
	}
}

// unwilling is a writer whose methods fail.
type unwilling struct{ http.ResponseWriter }

var errUnwilling = errors.New("unwilling")

func (unwilling) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errUnwilling }
func (unwilling) Flush()                                       {}
func (unwilling) FlushError() error                            { return errUnwilling }

// TestErrorsOfTheWriter sees that the errors of the writer come through. A
// hijack counts as 101 also where it fails: the decision comes before.
func TestErrorsOfTheWriter(t *testing.T) {
	middleware, outcomes := watching(t)
	handler := middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, errUnwilling)
		w.WriteHeader(http.StatusNotImplemented)
		assert.ErrorIs(t, http.NewResponseController(w).Flush(), errUnwilling)
	}))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(unwilling{recorder}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusNotImplemented, recorder.Code)
	assert.Equal(t, core.Outcome{Status: http.StatusSwitchingProtocols}, next(t, outcomes))
}

// TestRecoveryBehind has a handler that answers for its panics.
func TestRecoveryBehind(t *testing.T) {
	middleware, outcomes := watching(t)
	handler := middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		panic("on purpose")
	}))
	assert.Equal(t, http.StatusInternalServerError, request(t, handler, http.MethodGet, "/").Code)
	assert.Equal(t, core.Outcome{Status: http.StatusInternalServerError}, next(t, outcomes))
}

// TestWriterIsTheSame checks that the writer is wrapped for FlushOn alone.
func TestWriterIsTheSame(t *testing.T) {
	client, _ := newClient(t)
	for name, options := range map[string]nethttp.Options{
		"Off": {}, "Durable": {AfterResponse: core.Durable}, "Memory": {AfterResponse: core.Memory},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			handler := nethttp.Middleware(client, options)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				assert.Same(t, recorder, w)
			}))
			handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		})
	}
}
