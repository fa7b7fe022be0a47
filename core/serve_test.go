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
		status int   // of the writer; -1 for one that does not know it
		starts []int // of the adapter's writer, while the handler runs
		err    error
		late   int // the status of the framework's response to the error; zero for none
		want   int // zero for no question
	}{
		"NoMethod":           {status: -1, want: 200},
		"Status":             {status: 404, want: 404},
		"StatusZero":         {want: 200},
		"Informational":      {status: 103, want: 200},
		"SwitchingProtocols": {status: 101, want: 101},
		"NotModified":        {status: 304, want: 304},
		"Failed":             {status: 503, want: 503},
		"Started":            {status: 503, starts: []int{201}, want: 201},
		"StartedTwice":       {starts: []int{103, 404, 200}, want: 404},
		"NoStatus":           {starts: []int{0, 99, 1000, -1}, want: 200},
		"StartedAndError":    {starts: []int{201}, err: broken, late: 500, want: 201},
		"Error":              {err: broken},
		"AnsweredError":      {err: broken, late: 404, want: 404},
	}
	client, _ := serving(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var w http.ResponseWriter = httptest.NewRecorder()
			if test.status >= 0 {
				w = statusWriter{w, func() int { return test.status }}
			}
			var outcomes []core.Outcome
			options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
				outcomes = append(outcomes, outcome)
				return false
			}}
			var response *core.Response
			err := client.Serve(w, nil, options, func(w http.ResponseWriter, r *http.Request) error {
				publish(t, r)
				response = w.(*core.Response)
				for _, status := range test.starts {
					assert.True(t, response.Start(status))
				}
				return test.err
			})
			assert.Equal(t, test.err, err)
			if test.late != 0 {
				assert.True(t, response.Start(test.late))
			}
			if test.want == 0 {
				assert.Empty(t, outcomes)
				return
			}
			assert.Equal(t, []core.Outcome{{Status: test.want}}, outcomes)
		})
	}
}

// TestServePanics ends requests by what is not a return.
func TestServePanics(t *testing.T) {
	client, server := serving(t)
	asked := func(outcome core.Outcome) bool {
		assert.Fail(t, "a panic drops the messages without a question")
		return true
	}
	options := core.Options{AfterResponse: core.Memory, FlushOn: asked}
	sent := statusWriter{httptest.NewRecorder(), func() int { return 200 }}
	var response *core.Response
	for _, value := range []any{errors.New("broken"), http.ErrAbortHandler, "text"} {
		assert.PanicsWithValue(t, value, func() {
			_ = client.Serve(sent, nil, options, func(w http.ResponseWriter, r *http.Request) error {
				response = w.(*core.Response)
				publish(t, r)
				panic(value)
			})
		})
		assert.True(t, response.Start(500), "a middleware in front answers")
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
					_ = client.Serve(w, r, options, func(_ http.ResponseWriter, handled *http.Request) error {
						publish(t, handled)
						if replaced {
							handled = handled.WithContext(handled.Context())
						}
						w.request = handled
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
	require.NoError(t, client.Serve(nil, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
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
