package devserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

func TestMain(m *testing.M) {
	child()
	goleak.VerifyTestMain(m)
}

// patience is the timeout of conditions.
const patience = 20 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool, message string, args ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, append([]any{message}, args...)...)
}

// running is a development server in this process.
type running struct {
	t    *testing.T
	url  string
	out  *lockedBuffer
	stop func() error
	// client follows no redirects.
	client *http.Client
}

// lockedBuffer is a buffer that is safe for concurrent use.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// newClient returns an HTTP client with its own connections that does not follow
// redirects.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// start runs a server until the test ends, or stop is called.
func start(t *testing.T, o Options) *running {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	r := &running{t: t, out: &lockedBuffer{}, client: newClient(t)}
	o.Out = r.out
	urls := make(chan string, 1)
	o.Started = func(url string) { urls <- url }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return fmt.Errorf("the server does not end")
		}
	})
	t.Cleanup(func() { assert.NoError(t, r.stop()) })
	select {
	case r.url = <-urls:
	case err := <-ended:
		ended <- err
		require.NoError(t, err)
	}
	return r
}

// reply is a response with its body.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; fields is the form in its body.
func (r *running) do(method, path string, fields url.Values, headers ...string) reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience) // a stream does not end
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(fields.Encode()))
	require.NoError(r.t, err)
	if fields != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	return r.send(request)
}

func (r *running) send(request *http.Request) reply {
	r.t.Helper()
	response, err := r.client.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

// get reads a page, which must exist.
func (r *running) get(path string) string {
	r.t.Helper()
	got := r.do(http.MethodGet, path, nil)
	require.Equal(r.t, http.StatusOK, got.status, got.body)
	return got.body
}

// post sends a form and returns the redirect's location.
func (r *running) post(path string, fields url.Values) string {
	r.t.Helper()
	got := r.do(http.MethodPost, path, fields)
	require.Equal(r.t, http.StatusSeeOther, got.status, got.body)
	return got.header.Get("Location")
}

// api calls the API.
func (r *running) api(path, body string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	request.Header.Set("Content-Type", "application/json")
	got := r.send(request)
	return got.status, got.body
}

// accept calls the API, which must respond with 201.
func (r *running) accept(path, body string) string {
	r.t.Helper()
	status, answer := r.api(path, body)
	require.Equal(r.t, http.StatusCreated, status, answer)
	return answer
}

func (r *running) addTopic(name string, targets ...string) {
	r.t.Helper()
	r.accept(wire.TopicsPath, fmt.Sprintf(`{"name":%q,"origin_host":"http://127.0.0.1:9/none/","recovery_enabled":false}`, name))
	for _, target := range targets {
		r.accept(wire.ConsumersPath, fmt.Sprintf(`{"topic":%q,"target":%q,"type":"http","active":true}`, name, target))
	}
}

func (r *running) publish(topic, payload string) {
	r.t.Helper()
	r.accept(wire.MessagePath, fmt.Sprintf(`{"topic":%q,"payload":%s,"attributes":{"kind":"new"}}`, topic, payload))
}
