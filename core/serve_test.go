package core_test

import (
	"context"
	"errors"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// serving makes a client of a server that knows the topic "orders".
func serving(t *testing.T) (*core.Client, *postofficetest.Server) {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	client, err := core.NewClient(core.Config{URL: server.URL(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	return client, server
}

// statusWriter is a writer of a framework that knows the status.
type statusWriter struct {
	http.ResponseWriter
	status func() int
}

func (w statusWriter) Status() int { return w.status() }

// requestWriter is a writer of a framework that knows its request.
type requestWriter struct {
	http.ResponseWriter
	request *http.Request
}

func (w *requestWriter) Request() *http.Request { return w.request }

// publish publishes one message by the publisher of a request.
func publish(t *testing.T, r *http.Request) {
	t.Helper()
	_, err := core.MustFromContext(r.Context()).Publish(r.Context(), "orders", struct{}{})
	assert.NoError(t, err)
}

type earlierKey struct{}

func TestServeCallsNext(t *testing.T) {
	client, server := serving(t)
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), earlierKey{}, "earlier"), http.MethodPost, "/a", nil)
	want := errors.New("broken")
	err := client.Serve(recorder, r, core.Options{}, func(w http.ResponseWriter, handled *http.Request) error {
		assert.Same(t, recorder, w)
		assert.NotSame(t, r, handled)
		assert.Equal(t, r.URL, handled.URL)
		assert.Equal(t, "earlier", handled.Context().Value(earlierKey{}))
		publish(t, handled)
		return want
	})
	assert.Same(t, want, err)
	assert.Len(t, server.Messages(), 1)
	_, ok := core.FromContext(r.Context())
	assert.False(t, ok, "the caller's request is as it was")
}

// TestServeOutcome asks FlushOn about the ends that an adapter can report.
func TestServeOutcome(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		status int // -1 for a writer that does not know it
		err    error
		want   int
	}{
		"NoMethod":             {-1, nil, 200},
		"NoMethodButError":     {-1, broken, 500},
		"Status":               {404, nil, 404},
		"StatusOfTheError":     {409, broken, 409},
		"StatusZero":           {0, nil, 200},
		"StatusZeroAndError":   {0, broken, 500},
		"Informational":        {103, nil, 200},
		"InformationalAndFail": {103, broken, 500},
		"SwitchingProtocols":   {101, nil, 101},
		"NotModified":          {304, nil, 304},
		"Failed":               {503, nil, 503},
	}
	client, _ := serving(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var w http.ResponseWriter = httptest.NewRecorder()
			returned := false
			if test.status >= 0 {
				w = statusWriter{w, func() int {
					assert.True(t, returned, "the status is final when the handler has returned")
					return test.status
				}}
			}
			var outcomes []core.Outcome
			options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
				outcomes = append(outcomes, outcome)
				return false
			}}
			err := client.Serve(w, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
				publish(t, r)
				returned = true
				return test.err
			})
			assert.Equal(t, test.err, err)
			assert.Equal(t, []core.Outcome{{Status: test.want}}, outcomes)
		})
	}
}

// TestServePanics ends requests by what is not a return.
func TestServePanics(t *testing.T) {
	client, server := serving(t)
	var outcomes []core.Outcome
	options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
		outcomes = append(outcomes, outcome)
		return core.Succeeded(outcome)
	}}
	sent := statusWriter{httptest.NewRecorder(), func() int { return 200 }}
	for _, value := range []any{errors.New("broken"), http.ErrAbortHandler, "text"} {
		assert.PanicsWithValue(t, value, func() {
			_ = client.Serve(sent, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
				publish(t, r)
				panic(value)
			})
		})
	}
	var exiting sync.WaitGroup
	exiting.Go(func() {
		_ = client.Serve(sent, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
			publish(t, r)
			runtime.Goexit()
			return nil
		})
	})
	exiting.Wait()
	panicked := core.Outcome{Panicked: true}
	assert.Equal(t, []core.Outcome{panicked, panicked, panicked, panicked}, outcomes)
	require.NoError(t, client.Flush(t.Context()))
	assert.Empty(t, server.Messages())
}

// TestServeWithoutFlushOn does not ask what nobody wants to know.
func TestServeWithoutFlushOn(t *testing.T) {
	client, server := serving(t)
	w := statusWriter{httptest.NewRecorder(), func() int { panic("asked") }}
	require.NoError(t, client.Serve(w, nil, core.Options{AfterResponse: core.Memory}, func(_ http.ResponseWriter, r *http.Request) error {
		publish(t, r)
		assert.NoError(t, client.Flush(t.Context()))
		assert.Len(t, server.Messages(), 1, "messages do not wait for the end")
		return nil
	}))
}

// TestServeHandsBack checks the request that net/http and middlewares in front
// look at.
func TestServeHandsBack(t *testing.T) {
	mux := http.NewServeMux()
	form := &multipart.Form{}
	mux.HandleFunc("GET /{first}/{rest...}", func(_ http.ResponseWriter, r *http.Request) {
		r.MultipartForm, r.Form, r.PostForm = form, url.Values{"a": {"b"}}, url.Values{"c": {"d"}}
	})
	client, _ := serving(t)
	for name, options := range map[string]core.Options{
		"NotWatching": {}, "Watching": {AfterResponse: core.Memory, FlushOn: func(core.Outcome) bool { panic("in FlushOn") }},
	} {
		for _, panics := range []bool{false, true} {
			for _, replaced := range []bool{false, true} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/a/b/c", nil)
				w := &requestWriter{ResponseWriter: httptest.NewRecorder()}
				serve := func() {
					defer func() { _ = recover() }()
					_ = client.Serve(w, r, options, func(w http.ResponseWriter, handled *http.Request) error {
						publish(t, handled)
						if replaced {
							handled = handled.WithContext(handled.Context())
						}
						w.(*requestWriter).request = handled
						mux.ServeHTTP(w, handled)
						if panics {
							panic("on purpose")
						}
						return nil
					})
				}
				serve()
				assert.Equal(t, "GET /{first}/{rest...}", r.Pattern, "%s, panics: %v, replaced: %v", name, panics, replaced)
				assert.Equal(t, "a", r.PathValue("first"))
				assert.Equal(t, "b/c", r.PathValue("rest"))
				assert.Same(t, form, r.MultipartForm)
				assert.Equal(t, url.Values{"a": {"b"}}, r.Form)
				assert.Equal(t, url.Values{"c": {"d"}}, r.PostForm)
			}
		}
	}
}

// TestServeTakesNothingAway has a framework whose request lacks, or has again,
// what the caller's has.
func TestServeTakesNothingAway(t *testing.T) {
	client, _ := serving(t)
	form := &multipart.Form{}
	r := &http.Request{Pattern: "/{id}", MultipartForm: form, Form: url.Values{}, PostForm: url.Values{}}
	r.SetPathValue("id", "7")
	want := *r
	w := &requestWriter{ResponseWriter: httptest.NewRecorder()}
	serve := func(left *http.Request) {
		require.NoError(t, client.Serve(w, r, core.Options{}, func(http.ResponseWriter, *http.Request) error {
			w.request = left
			return nil
		}))
	}
	for _, left := range []*http.Request{nil, r, {}} {
		serve(left)
		assert.Equal(t, want, *r)
	}
	serve(&http.Request{Pattern: "{", MultipartForm: &multipart.Form{}})
	assert.Same(t, form, r.MultipartForm, "the handler cannot have parsed it again")
	assert.Equal(t, "{", r.Pattern)
}

func TestServeWithoutItsArguments(t *testing.T) {
	client, server := serving(t)
	err := client.Serve(nil, nil, core.Options{}, nil)
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	var field *core.FieldError
	require.ErrorAs(t, err, &field)
	assert.Equal(t, "next", field.Field)
	options := core.Options{
		AfterResponse: core.Memory, FlushOn: core.Succeeded,
		Attributes: func(r *http.Request) map[string]any { return map[string]any{"method": r.Method} },
	}
	require.NoError(t, client.Serve(nil, nil, options, func(w http.ResponseWriter, r *http.Request) error {
		assert.Nil(t, w)
		publish(t, r)
		return nil
	}))
	require.NoError(t, client.Flush(t.Context()))
	assert.Len(t, server.Messages(), 1)
	called := false
	require.NoError(t, (*core.Client)(nil).Serve(nil, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
		called = true
		_, err := core.MustFromContext(r.Context()).Publish(r.Context(), "orders", struct{}{})
		assert.ErrorContains(t, err, "client is nil")
		return nil
	}))
	assert.True(t, called)
}
