package outboxpage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// app is an app with the page, a store in a file and a server.
type app struct {
	t      testing.TB
	url    string // of the page
	store  *sqlite.Store
	server *postofficetest.Server
	client *core.Client
	page   *page
	http   *http.Client // follows no redirects
}

// start runs an app whose relay does not run. change may alter the
// configuration and the options.
func start(t testing.TB, change ...func(*core.Config, *Options)) *app {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "outbox.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	server := postofficetest.Start(t)
	config := core.Config{URL: server.URL(), Outbox: store, Logger: quiet}
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
func id(n int) string { return fmt.Sprintf("0197f0f2-6f4e-7c3b-9d57-%012x", n) }

// outboxRecord is a message by its number.
func outboxRecord(n int) outbox.Record {
	return outbox.Record{
		ID: id(n), Topic: "orders", Payload: json.RawMessage(fmt.Sprintf(`{"order":%d,"secret":"hush"}`, n)),
		Attributes: json.RawMessage(`{"kind":"attributed"}`),
	}
}

// insert stores a message and returns it.
func (a *app) insert(n int, topic string, change ...func(*outbox.Record)) outbox.Record {
	a.t.Helper()
	record := outboxRecord(n)
	record.Topic = topic
	for _, change := range change {
		change(&record)
	}
	require.NoError(a.t, a.store.Insert(a.t.Context(), 0, record))
	return record
}

func dead(r *outbox.Record) {
	r.State, r.LastError = outbox.Dead, "server answered 400: payload is invalid"
}

// states stores a message of each state: 1 dead, 2 retrying, 3 held, 4 waiting.
func (a *app) states() {
	a.t.Helper()
	a.insert(1, "orders", dead)
	a.insert(2, "orders")
	claim := func(lease time.Duration) outbox.Record {
		records, err := a.store.Claim(a.t.Context(), outbox.ClaimOptions{Limit: 1, Lease: lease})
		require.NoError(a.t, err)
		require.Len(a.t, records, 1)
		return records[0]
	}
	record := claim(time.Minute)
	n, err := a.store.Reschedule(a.t.Context(), outbox.Change{
		ID: record.ID, LeaseToken: record.LeaseToken, After: 4*time.Minute + 10*time.Second, LastError: "server answered 503: Service Unavailable",
	})
	require.NoError(a.t, err)
	require.Equal(a.t, 1, n)
	a.insert(3, "bills")
	claim(5 * time.Minute)
	a.insert(4, "bills")
}

// entries returns the messages in the outbox.
func (a *app) entries() []outbox.Entry {
	a.t.Helper()
	entries, err := a.store.List(a.t.Context(), outbox.Query{Limit: 1_000_000})
	require.NoError(a.t, err)
	return entries
}

// ids returns the ids of the messages in the outbox.
func (a *app) ids() []string {
	a.t.Helper()
	var list []string
	for _, record := range a.entries() {
		list = append(list, record.ID)
	}
	return list
}

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
