package outboxpage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outboxpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbrowser.Runner{M: m}) }

// pageRows is the number of messages on a page of the list.
const pageRows = 50

// app is an app with the page, a store in a file and a server.
type app struct {
	t      testing.TB
	url    string // of the page
	store  *sqlite.Store
	server *postofficetest.Server
	client *core.Client
}

// start runs an app whose relay does not run. change may alter the configuration
// and the options.
func start(t testing.TB, change ...func(*core.Config, *outboxpage.Options)) *app {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "outbox.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	server := postofficetest.Start(t)
	config := core.Config{URL: server.URL(), Outbox: store, Logger: slog.New(slog.DiscardHandler)}
	options := outboxpage.Options{Authorize: func(*http.Request) bool { return true }}
	for _, change := range change {
		change(&config, &options)
	}
	client, err := core.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	page, err := outboxpage.Handler(client, options)
	require.NoError(t, err)
	site := httptest.NewServer(page)
	t.Cleanup(site.Close)
	return &app{t: t, store: store, server: server, client: client, url: site.URL + outboxpage.DefaultPath}
}

// id is the id of a message by its number.
func id(n int) string { return fmt.Sprintf("0197f0f2-6f4e-7c3b-9d57-%012x", n) }

// insert stores a message.
func (a *app) insert(n int, topic string, change ...func(*outbox.Record)) {
	a.t.Helper()
	record := outbox.Record{
		ID: id(n), Topic: topic, Payload: json.RawMessage(fmt.Sprintf(`{"order":%d,"secret":"hush"}`, n)),
		Attributes: json.RawMessage(`{"kind":"attributed"}`),
	}
	for _, change := range change {
		change(&record)
	}
	require.NoError(a.t, a.store.Insert(a.t.Context(), 0, record))
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

// hostile is a text with HTML and control characters.
const hostile = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202eexe.gpj\u2066'\"}]"

// hostileMessage stores a message with the hostile text in every field.
func (a *app) hostileMessage(n int) {
	a.t.Helper()
	text, err := json.Marshal(map[string]string{hostile: hostile})
	require.NoError(a.t, err)
	// Without the escapes of encoding/json, as another program may send it.
	text = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(text)))
	a.insert(n, hostile+"\r\n", func(r *outbox.Record) {
		dead(r)
		r.ID, r.Payload, r.Attributes, r.LastError = hostile+"\n", text, text, hostile
	})
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
	for _, entry := range a.entries() {
		list = append(list, entry.ID)
	}
	return list
}
