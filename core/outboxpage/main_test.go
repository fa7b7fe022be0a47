package outboxpage

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// app is an app with the page, a store in a file and a server.
type app struct {
	t      testing.TB
	url    string // of the page
	store  pagetest.Outbox
	server *postofficetest.Server
	client *core.Client
	page   *page
	http   *http.Client // follows no redirects
}

// start runs an app whose relay does not run. change may alter the
// configuration and the options.
func start(t testing.TB, change ...func(*core.Config, *Options)) *app {
	t.Helper()
	store := pagetest.NewOutbox(t)
	server := postofficetest.Start(t)
	config := core.Config{URL: server.URL(), Outbox: store.Store, Logger: quiet}
	options := Options{Authorize: func(*http.Request) bool { return true }}
	for _, change := range change {
		change(&config, &options)
	}
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	page, err := newPage(client, options)
	require.NoError(t, err)
	site := httptest.NewServer(page.handler())
	t.Cleanup(site.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	a := &app{t: t, store: store, server: server, client: client, page: page, url: site.URL + DefaultPath}
	if options.Path != "" {
		a.url = site.URL + options.Path
	}
	a.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return a
}

// id is the id of a message by its number.
func id(n int) string { return pagetest.ID(n) }

// reply is a response with its body.
type reply struct {
	status int
	header http.Header
	body   string
}

// do makes a request to an address below the page.
func (a *app) do(method, address string, fields url.Values, headers ...string) reply {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.url+address, strings.NewReader(fields.Encode()))
	require.NoError(a.t, err)
	if fields != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := a.http.Do(request)
	require.NoError(a.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(a.t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

// get reads a page, which must exist.
func (a *app) get(address string) string {
	a.t.Helper()
	got := a.do(http.MethodGet, address, nil)
	require.Equal(a.t, http.StatusOK, got.status, got.body)
	return got.body
}

// post sends a form and returns the redirect's location.
func (a *app) post(address string, fields url.Values) string {
	a.t.Helper()
	got := a.do(http.MethodPost, address, fields)
	require.Equal(a.t, http.StatusSeeOther, got.status, got.body)
	return got.header.Get("Location")
}
