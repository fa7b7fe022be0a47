package outboxpage_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
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
	store  pagetest.Outbox
	server *postofficetest.Server
	client *core.Client
}

// start runs an app whose relay does not run. change may alter the configuration
// and the options.
func start(t testing.TB, change ...func(*core.Config, *outboxpage.Options)) *app {
	t.Helper()
	store := pagetest.NewOutbox(t)
	server := postofficetest.Start(t)
	config := core.Config{URL: server.URL(), Outbox: store.Store, Logger: slog.New(slog.DiscardHandler)}
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
func id(n int) string { return pagetest.ID(n) }
