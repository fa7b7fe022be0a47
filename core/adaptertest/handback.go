package adaptertest

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// handBackTests check that fields that handlers and routers set on their
// request are copied to the request that the app was called with, where
// net/http and middlewares in front of the framework read them.
var handBackTests = []test{
	{"Uploads", uploads},
	{"Routed", routed},
}

// wrapApps are apps that wrap the one with the handler.
func wrapApps() map[string]func(t *testing.T, adapter Adapter, options core.Options, handler Handler) http.Handler {
	withClient := func(t *testing.T, adapter Adapter, options core.Options, handler Handler) http.Handler {
		t.Helper()
		return adapter.New(App{Client: newClient(t, newServer(t)), Options: options, Handler: handler})
	}
	return map[string]func(*testing.T, Adapter, core.Options, Handler) http.Handler{
		"OneMiddleware": withClient,
		"NestedMiddlewares": func(t *testing.T, adapter Adapter, options core.Options, handler Handler) http.Handler {
			t.Helper()
			inner := withClient(t, adapter, options, handler)
			return withClient(t, adapter, options, func(call Call) error {
				inner.ServeHTTP(call.Writer, call.Request)
				return nil
			})
		},
	}
}

// uploads sends a file that is larger than the memory limit of the handler. The
// temporary file of net/http must be removed after the request. (With HTTP/1,
// net/http itself does not remove it if the handler's panic reaches it.)
func uploads(t *testing.T, adapter Adapter) {
	parse := func(t *testing.T, call Call) {
		t.Helper()
		assert.NoError(t, call.Request.ParseMultipartForm(1))
		files, err := os.ReadDir(os.TempDir())
		assert.NoError(t, err)
		assert.Len(t, files, 1, "temporary files while the handler runs")
	}
	endings := map[string]struct {
		handler  func(t *testing.T, call Call) error
		recovers bool // a middleware in front recovers
		http2    bool
	}{
		"Returns":       {handler: func(t *testing.T, call Call) error { parse(t, call); return nil }},
		"Fails":         {handler: func(t *testing.T, call Call) error { parse(t, call); return StatusError(http.StatusTeapot) }},
		"OverHTTP2":     {handler: func(t *testing.T, call Call) error { parse(t, call); return nil }, http2: true},
		"Panics":        {handler: func(t *testing.T, call Call) error { parse(t, call); panic("on purpose") }, recovers: true},
		"PanicsOnHTTP2": {handler: func(t *testing.T, call Call) error { parse(t, call); panic("on purpose") }, http2: true},
	}
	for app, wrap := range wrapApps() {
		for name, options := range middlewareOptions() {
			for ending, check := range endings {
				t.Run(app+"/"+name+"/"+ending, func(t *testing.T) {
					t.Setenv("TMPDIR", t.TempDir())
					handler := wrap(t, adapter, options, func(call Call) error { return check.handler(t, call) })
					upload(t, check.http2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer func() {
							if check.recovers {
								assert.NotNil(t, recover())
							}
						}()
						handler.ServeHTTP(w, r)
					}))
					files, err := os.ReadDir(os.TempDir())
					require.NoError(t, err)
					assert.Empty(t, files, "temporary files after the request")
				})
			}
		}
	}
}

// upload posts a file to an app, and returns when net/http has completed the
// request.
func upload(t *testing.T, http2 bool, app http.Handler) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "name")
	require.NoError(t, err)
	_, err = file.Write(bytes.Repeat([]byte("x"), 100_000))
	require.NoError(t, err)
	require.NoError(t, form.Close())

	server := httptest.NewUnstartedServer(app)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	s := start(t, server)
	if http2 {
		s.useHTTP2()
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+Path, &body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", form.FormDataContentType())
	response, err := s.client.Do(request)
	if err == nil { // after a panic of the handler there is no response
		_ = response.Body.Close()
	}
	s.client.CloseIdleConnections()
	server.Close() // waits for the request
}

// requestFacts are the fields of a request that a middleware in front sees
// after the handler has ended.
type requestFacts struct {
	Pattern, PathValue   string
	Form, PostForm       url.Values
	Multipart, Recovered bool
}

// routed uses a mux that reads a form as the handler, like a complete app
// behind the middleware. A middleware in front of the framework must see the
// same as without the adapter's middleware.
func routed(t *testing.T, adapter Adapter) {
	for _, breaks := range []bool{false, true} {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /{name}", func(_ http.ResponseWriter, r *http.Request) {
			assert.NoError(t, r.ParseForm())
			if breaks {
				panic("on purpose")
			}
		})
		handler := func(call Call) error {
			mux.ServeHTTP(call.Writer, call.Request)
			return nil
		}
		observe := func(t *testing.T, app http.Handler) (facts requestFacts) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path+"?a=b", bytes.NewReader([]byte("c=d")))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			defer func() {
				facts = requestFacts{
					Pattern: r.Pattern, PathValue: r.PathValue("name"), Form: r.Form, PostForm: r.PostForm,
					Multipart: r.MultipartForm != nil, Recovered: recover() != nil,
				}
			}()
			app.ServeHTTP(httptest.NewRecorder(), r)
			return facts
		}
		withAndWithout(t, adapter, handler, func(t *testing.T, app http.Handler) requestFacts {
			t.Helper()
			facts := observe(t, app)
			assert.Equal(t, requestFacts{
				Pattern: "POST /{name}", PathValue: "app", Recovered: breaks,
				Form: url.Values{"a": {"b"}, "c": {"d"}}, PostForm: url.Values{"c": {"d"}},
			}, facts)
			return facts
		})
	}
}
