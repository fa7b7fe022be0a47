package adaptertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// transparencyTests check that the middleware changes nothing.
var transparencyTests = []test{
	{"Writer", writer},
	{"WriterIsUsable", writerIsUsable},
	{"Copy", copyToWriter},
	{"Flush", flush},
	{"Hijack", hijack},
	{"FullDuplex", fullDuplex},
	{"HandlerErrors", handlerErrors},
	{"NotFound", notFound},
	{"Panics", panics},
	{"AbortHandler", abortHandler},
}

// withAndWithout runs a check on an app without the middleware, and on the same
// app with it: with the simplest Options, and with Options that make it observe
// the end of requests. The results must be equal.
func withAndWithout[T any](t *testing.T, adapter Adapter, handler Handler, check func(t *testing.T, app http.Handler) T) {
	t.Helper()
	without := check(t, adapter.New(App{Handler: handler}))
	for name, options := range middlewareOptions() {
		with := check(t, adapter.New(App{Client: newClient(t, newServer(t)), Options: options, Handler: handler}))
		assert.Equal(t, without, with, "with the middleware, %s", name)
	}
}

func middlewareOptions() map[string]core.Options {
	return map[string]core.Options{
		"not watching": {Attributes: func(*http.Request) map[string]any { return nil }},
		"watching":     {AfterResponse: core.Memory, FlushOn: core.Succeeded},
	}
}

// writerFacts are the properties of a writer that a handler can observe.
type writerFacts struct {
	// Types are the types of the writer and of all writers that it wraps.
	Types []string

	Flusher, FlushError, Hijacker, Pusher, ReaderFrom, StringWriter, CloseNotifier bool
	ReadDeadline, WriteDeadline, FullDuplex                                        bool
}

func factsOf(w http.ResponseWriter) writerFacts {
	var facts writerFacts
	_, facts.Flusher = w.(http.Flusher)
	_, facts.FlushError = w.(interface{ FlushError() error })
	_, facts.Hijacker = w.(http.Hijacker)
	_, facts.Pusher = w.(http.Pusher)
	_, facts.ReaderFrom = w.(io.ReaderFrom)
	_, facts.StringWriter = w.(io.StringWriter)
	_, facts.CloseNotifier = w.(interface{ CloseNotify() <-chan bool })
	_, facts.ReadDeadline = w.(interface{ SetReadDeadline(time.Time) error })
	_, facts.WriteDeadline = w.(interface{ SetWriteDeadline(time.Time) error })
	_, facts.FullDuplex = w.(interface{ EnableFullDuplex() error })
	for w != nil {
		facts.Types = append(facts.Types, fmt.Sprintf("%T", w))
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	return facts
}

// writer compares the writers that handlers get. With FlushOn the middleware
// may wrap the writer in one that has the same methods and unwraps to it.
func writer(t *testing.T, adapter Adapter) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			var facts writerFacts
			handler := func(call Call) error {
				facts = factsOf(call.Writer)
				assert.Equal(t, proto, call.Request.Proto)
				return nil
			}
			observe := func(app http.Handler) writerFacts {
				facts = writerFacts{}
				server := httptest.NewUnstartedServer(app)
				server.Config.Protocols = new(http.Protocols)
				server.Config.Protocols.SetHTTP1(true)
				server.Config.Protocols.SetUnencryptedHTTP2(true)
				s := start(t, server)
				if proto == "HTTP/2.0" {
					s.useHTTP2()
				}
				s.get(t)
				require.NotEmpty(t, facts.Types, "the handler was called")
				return facts
			}
			without := observe(adapter.New(App{Handler: handler}))
			for name, options := range middlewareOptions() {
				with := observe(adapter.New(App{Client: newClient(t, newServer(t)), Options: options, Handler: handler}))
				if options.FlushOn != nil {
					if len(without.Types) > 1 { // writers reachable through Unwrap send, too
						with.FlushError, with.Hijacker = without.FlushError, without.Hijacker
					}
					with.Types = slices.DeleteFunc(with.Types, func(name string) bool { return !slices.Contains(without.Types, name) })
				}
				assert.Equal(t, without, with, "with the middleware, %s", name)
			}
		})
	}
}

func writerIsUsable(t *testing.T, adapter Adapter) {
	var outcome []string
	handler := func(call Call) error {
		controller := http.NewResponseController(call.Writer)
		for _, err := range []error{
			controller.EnableFullDuplex(),
			controller.SetReadDeadline(time.Now().Add(patience)),
			controller.SetWriteDeadline(time.Now().Add(patience)),
			controller.Flush(),
		} {
			outcome = append(outcome, fmt.Sprint(err))
		}
		return nil
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) []string {
		outcome = nil
		serve(t, app).get(t)
		require.NotEmpty(t, outcome, "the handler was called")
		return outcome
	})
}

// copyToWriter copies a file to the writer, which calls ReadFrom of net/http's
// writer, and writes text with WriteString.
func copyToWriter(t *testing.T, adapter Adapter) {
	handler := func(call Call) error {
		call.Writer.Header().Set("Content-Type", "text/plain")
		if _, err := io.WriteString(call.Writer, "text;"); err != nil {
			return err
		}
		_, err := io.Copy(call.Writer, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 100_000))})
		return err
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) answer {
		got := serve(t, app).do(t, http.MethodGet, Path, nil)
		assert.Len(t, got.Body, 100_005)
		return got
	})
}

// flush checks that a client sees the first half of a body before the
// handler writes the second.
func flush(t *testing.T, adapter Adapter) {
	var proceed chan struct{}
	handler := func(call Call) error {
		_, _ = io.WriteString(call.Writer, "first;")
		if err := http.NewResponseController(call.Writer).Flush(); err != nil {
			_, err = io.WriteString(call.Writer, "cannot flush: "+err.Error())
			return err
		}
		await(t, proceed, "the client to have the first half")
		_, _ = io.WriteString(call.Writer, "second;")
		return nil
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) string {
		proceed = make(chan struct{})
		s := serve(t, app)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+Path, nil)
		require.NoError(t, err)
		response, err := s.client.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		body := bufio.NewReader(response.Body)
		first, err := body.ReadString(';')
		require.NoError(t, err)
		close(proceed)
		second, err := io.ReadAll(body)
		require.NoError(t, err)
		return first + string(second)
	})
}

func hijack(t *testing.T, adapter Adapter) {
	handler := func(call Call) error {
		conn, buffer, err := http.NewResponseController(call.Writer).Hijack()
		if err != nil {
			_, err = io.WriteString(call.Writer, "cannot hijack: "+err.Error())
			return err
		}
		defer func() { _ = conn.Close() }()
		_, _ = buffer.WriteString("HTTP/1.1 299 Hijacked\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmine")
		return buffer.Flush()
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) answer {
		s := serve(t, app)
		got := s.do(t, http.MethodGet, Path, nil)
		assert.Empty(t, s.errors.String())
		return got
	})
}

// fullDuplex checks that a handler can answer while it reads the request:
// each line that the client sends comes back before it sends the next.
func fullDuplex(t *testing.T, adapter Adapter) {
	handler := func(call Call) error {
		controller := http.NewResponseController(call.Writer)
		if err := controller.EnableFullDuplex(); err != nil {
			call.Writer.Header().Set("Connection", "close") // otherwise the server waits for the rest of the body
			_, err = io.WriteString(call.Writer, "no full duplex: "+err.Error()+"\n")
			return err
		}
		if err := controller.Flush(); err != nil {
			call.Writer.Header().Set("Connection", "close")
			_, err = io.WriteString(call.Writer, "cannot flush: "+err.Error()+"\n")
			return err
		}
		lines := bufio.NewScanner(call.Request.Body)
		for lines.Scan() {
			_, _ = io.WriteString(call.Writer, lines.Text()+" back\n")
			_ = controller.Flush()
		}
		return nil
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) []string {
		s := serve(t, app)
		body, send := io.Pipe()
		defer func() { _ = send.Close() }()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+Path, body)
		require.NoError(t, err)
		response, err := s.client.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		receive := bufio.NewReader(response.Body)
		var lines []string
		for _, line := range []string{"one", "two"} {
			_, err := io.WriteString(send, line+"\n")
			if err != nil { // the handler has ended
				break
			}
			received, err := receive.ReadString('\n')
			require.NoError(t, err)
			lines = append(lines, received)
		}
		_ = send.Close()
		_, err = io.Copy(io.Discard, receive)
		require.NoError(t, err)
		return lines
	})
}

func handlerErrors(t *testing.T, adapter Adapter) {
	for _, status := range []int{http.StatusTeapot, http.StatusInternalServerError} {
		handler := func(Call) error { return StatusError(status) }
		withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) answer {
			got := serve(t, app).do(t, http.MethodPost, Path, nil)
			assert.Equal(t, status, got.Status)
			return got
		})
	}
}

func notFound(t *testing.T, adapter Adapter) {
	handler := func(Call) error { return nil }
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) answer {
		got := serve(t, app).do(t, http.MethodGet, Path+"/nowhere", nil)
		assert.Equal(t, http.StatusNotFound, got.Status)
		return got
	})
}

// panics checks the value with which the app panics. It must be the same as
// without the middleware: the value of the handler's panic or, if the framework
// recovers by itself, nothing.
func panics(t *testing.T, adapter Adapter) {
	for _, value := range []any{errors.New("an error"), http.ErrAbortHandler, "a text", &struct{ n int }{1}} {
		handler := func(Call) error { panic(value) }
		withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) (recovered any) {
			defer func() {
				if recovered = recover(); recovered != nil && recovered != value {
					t.Errorf("the handler panicked with %#v, the app with %#v", value, recovered)
				}
			}()
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, nil)
			app.ServeHTTP(httptest.NewRecorder(), request)
			return nil
		})
	}
}

// abortHandler checks that http.ErrAbortHandler reaches the HTTP server, which
// closes the connection and logs nothing.
func abortHandler(t *testing.T, adapter Adapter) {
	handler := func(call Call) error {
		_ = http.NewResponseController(call.Writer).Flush()
		panic(http.ErrAbortHandler)
	}
	withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) bool {
		s := serve(t, app)
		_, err := s.try(t.Context(), http.MethodGet, Path, nil)
		assert.Empty(t, s.errors.String(), "the server's log")
		return err != nil
	})
}
