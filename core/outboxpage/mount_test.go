package outboxpage_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outboxpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

// TestMount serves the page through one adapter; adaptertest covers the others.
func TestMount(t *testing.T) {
	for _, path := range []string{"", "/admin/undelivered/"} {
		t.Run(path, func(t *testing.T) {
			client, err := core.NewClient(core.Config{
				URL: postofficetest.Start(t).URL(), Outbox: memory.New(), Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, client.Stop(context.Background())) })
			allowed := true
			require.NoError(t, outboxpage.Mount(client, outboxpage.Options{
				Path: path, Authorize: func(*http.Request) bool { return allowed },
			}))
			app := http.NewServeMux()
			require.NoError(t, nethttp.Mount(app, client))
			if path == "" {
				path = outboxpage.DefaultPath
			}
			get := func(path string) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				app.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
				return w
			}
			page := get(path)
			assert.Equal(t, http.StatusOK, page.Code)
			assert.Contains(t, page.Body.String(), "Undelivered messages")
			assert.Equal(t, http.StatusOK, get(path+"style.css").Code)
			allowed = false
			assert.Equal(t, http.StatusForbidden, get(path).Code)
			assert.Equal(t, http.StatusForbidden, get(core.DefaultRecoveryPath).Code, "the recovery endpoint is there, too")
		})
	}
}

func TestMountChecksItsOptions(t *testing.T) {
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Stop(context.Background())) })
	require.ErrorIs(t, outboxpage.Mount(client, outboxpage.Options{}), core.ErrInvalidConfig)
	app := http.NewServeMux()
	require.NoError(t, nethttp.Mount(app, client))
	_, pattern := app.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodGet, outboxpage.DefaultPath, nil))
	assert.Empty(t, pattern, "nothing is mounted")
}
