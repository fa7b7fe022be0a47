package delivery_test

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Runner{M: m}) }

// patience bounds what should take no time.
const patience = 20 * time.Second

// order is a payload.
type order struct {
	ID int `json:"id"`
}

// message is a delivery of an order.
const message = `{"id":7,"attributes":{"region":"north"}}`

// problems collects reported problems.
type problems struct {
	mu   sync.Mutex
	list []delivery.Problem
}

func (p *problems) add(_ context.Context, problem delivery.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, problem)
}

// take returns the reported problems and forgets them.
func (p *problems) take() []delivery.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.list
	p.list = nil
	return list
}

// quiet keeps the log of tests empty.
func quiet() delivery.Option { return delivery.WithLogger(slog.New(slog.DiscardHandler)) }

// serve serves a handler until the test ends, and returns its URL.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// consumer serves a handler of orders at a path.
func consumer(t *testing.T, handle func(context.Context, delivery.Message[order]) error, options ...delivery.Option) (url string, reported *problems) {
	t.Helper()
	reported = &problems{}
	options = append([]delivery.Option{quiet(), delivery.WithOnError(reported.add)}, options...)
	return serve(t, delivery.Handler(handle, options...)) + "/consume/orders", reported
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// try posts as the server does. The headers are names and values by turns and
// replace those of the server.
func try(ctx context.Context, url, body string, header ...string) (answer, error) {
	return send(ctx, http.MethodPost, url, strings.NewReader(body), header...)
}

func send(ctx context.Context, method, url string, body io.Reader, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	request.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"hackney/1.18.1"}, "message-id": {"9114"},
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Del(header[i])
		delete(request.Header, header[i])
		if header[i+1] != "" {
			request.Header.Set(header[i], header[i+1])
		}
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// post is try for requests that are answered.
func post(t *testing.T, url, body string, header ...string) answer {
	t.Helper()
	got, err := try(t.Context(), url, body, header...)
	require.NoError(t, err)
	return got
}

// await waits for an event.
func await(t *testing.T, event <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}
