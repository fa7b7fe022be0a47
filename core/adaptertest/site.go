package adaptertest

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// topic is the topic that most checks use.
const topic = "adaptertest"

// patience bounds steps that take no time. It only matters if a check fails.
const patience = 30 * time.Second

// newServer starts a fake Postoffice server that knows the topic.
func newServer(t *testing.T) *postofficetest.Server {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: topic}))
	return server
}

// newClient creates a client of the server and stops it when the test ends.
func newClient(t *testing.T, server *postofficetest.Server, change ...func(*core.Config)) *core.Client {
	t.Helper()
	config := core.Config{
		URL:         server.URL(),
		Timeout:     patience, // a loaded machine is slow, and no check waits for the timeout
		BulkTimeout: patience,
		Logger:      slog.New(slog.DiscardHandler),
	}
	for _, change := range change {
		change(&config)
	}
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, client.Stop(ctx))
	})
	return client
}

// site is an app that is served over HTTP.
type site struct {
	url    string
	client *http.Client
	errors *logBuffer // the log of the HTTP server, such as panics
}

// serve serves an app until the test ends.
func serve(t *testing.T, app http.Handler) *site {
	t.Helper()
	server := httptest.NewUnstartedServer(app)
	return start(t, server)
}

// start is serve for a server whose address must be known in advance.
func start(t *testing.T, server *httptest.Server) *site {
	t.Helper()
	s := &site{errors: &logBuffer{}}
	server.Config.ErrorLog = log.New(s.errors, "", 0)
	server.Start()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	s.url = server.URL
	s.client = &http.Client{
		Transport: transport,
		Timeout:   patience,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the rescuer follows no redirect
		},
	}
	return s
}

// useHTTP2 sends later requests over HTTP/2 without TLS.
func (s *site) useHTTP2() {
	transport := s.client.Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
}

// answer is a response whose body was read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// do sends a request to a path, with userinfo unless it is nil.
func (s *site) do(t *testing.T, method, path string, user *url.Userinfo, header ...string) answer {
	t.Helper()
	got, err := s.try(t.Context(), method, path, user, header...)
	require.NoError(t, err)
	return got
}

// try is do for requests that may fail. header alternates names and values.
func (s *site) try(ctx context.Context, method, path string, user *url.Userinfo, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(""))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	if user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	response.Header.Del("Date")
	return answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err
}

// get calls the app's handler and requires success.
func (s *site) get(t *testing.T, header ...string) {
	t.Helper()
	got := s.do(t, http.MethodGet, Path, nil, header...)
	require.Equal(t, http.StatusOK, got.Status, "body: %s", got.Body)
}

// soon returns a context for steps that take no time.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits for an event in a handler. It has a timeout, so a broken adapter
// fails the check instead of hanging it.
func await(t *testing.T, event <-chan struct{}, what string) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-event:
	case <-timer.C:
		t.Errorf("timed out waiting for %s", what)
	}
}

// signalEnd wraps an app with a handler that signals when a request has
// returned from it, also by a panic. By then, the middleware has completed its
// work at the end of the request. The client may have received the whole
// response before.
func signalEnd(app http.Handler) (http.Handler, <-chan struct{}) {
	ended := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		app.ServeHTTP(w, r)
	}), ended
}

// logBuffer collects a log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to the log.
func (b *logBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

// String returns the log.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
