package core

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

func TestLimitedLoggerLogsOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := newLimitedLogger(slog.New(slog.NewTextHandler(&text, nil)))
		for range 5 {
			l.warn("stored", "orders", "it is stored", "topic", "orders")
			l.warn("stored", "bills", "it is stored", "topic", "bills")
		}
		l.error("dead", "orders", "it is dead")
		assert.Equal(t, 3, strings.Count(text.String(), "\n"), text.String())
		assert.Contains(t, text.String(), "level=ERROR")

		time.Sleep(loglimit.Interval)
		text.Reset()
		l.warn("stored", "orders", "it is stored")
		assert.Contains(t, text.String(), "omitted=4")
		time.Sleep(loglimit.Interval)
		text.Reset()
		l.warn("stored", "orders", "it is stored")
		assert.NotContains(t, text.String(), "omitted")
	})
}

// What has no effect is told.
func TestWarnsOfWhatHasNoEffect(t *testing.T) {
	var text strings.Builder
	client := newTestClient(t, Config{URL: testServer, Logger: slog.New(slog.NewTextHandler(&text, nil))})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	begin := func(options Options) {
		_, end := client.BeginRequest(t.Context(), request, options)
		end()
	}
	begin(Options{AfterResponse: Memory, FlushOn: Succeeded})
	client.AddRoute(Route{Path: "/a/"})
	client.Routes()
	assert.Empty(t, text.String())
	begin(Options{FlushOn: Succeeded})
	assert.Contains(t, text.String(), "FlushOn decides nothing")
	client.AddRoute(Route{Path: "/b/"})
	assert.Contains(t, text.String(), "path=/b/")
}
