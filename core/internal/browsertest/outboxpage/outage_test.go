package outboxpage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outboxpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// afterAnOutage serves the page of an app one hour after its start, and returns its
// address. The server was down for four minutes and rejected three messages. The hour
// passes in a synctest bubble; the pages are recorded there and served outside of it.
func afterAnOutage(t *testing.T) string {
	server := postofficetest.Start(t)
	pages := make(map[string]*httptest.ResponseRecorder)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(13*time.Hour + 47*time.Minute)
		store := memory.New()
		client, err := core.NewClient(core.Config{
			URL: server.URL(), HTTPClient: &http.Client{Transport: server.Transport()}, Outbox: store,
			OriginHost: "http://shop:8080", Topics: []string{"orders", "parcels"}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		require.NoError(t, client.Start(t.Context()))
		minute := 0
		server.FailWhen(func(r *http.Request, body []byte) (int, bool) {
			switch {
			case minute >= 33 && minute < 37:
				return http.StatusServiceUnavailable, true
			case bytes.Contains(body, []byte("refused")):
				return http.StatusBadRequest, true
			default:
				return 0, false
			}
		})
		for ; minute < 60; minute++ {
			orders := 900 + int(220*math.Sin(float64(minute)/7)) + minute*13%90
			_, err := client.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, orders)))
			require.NoError(t, err)
			if minute%20 == 5 {
				_, err := client.Publish(t.Context(), "parcels", map[string]any{"refused": minute})
				require.NoError(t, err)
			}
			time.Sleep(time.Minute)
		}
		// Messages that another replica is posting or will retry.
		for i, wait := range []time.Duration{4 * time.Minute, 50 * time.Second, 5 * time.Minute} {
			record := outbox.Record{
				ID: id(i), Topic: "parcels", Payload: json.RawMessage(`{"parcel":17}`), Attributes: json.RawMessage(`{}`),
				Attempts: 3, LastError: `server answered 503 for topic "parcels"`,
			}
			if i == 2 {
				record.LeaseToken, record.Topic, record.LastError = "another", "orders", `server answered 503 for topic "orders"`
			}
			require.NoError(t, store.Insert(t.Context(), wait, record))
			time.Sleep(time.Second)
		}
		handler, err := outboxpage.Handler(client, outboxpage.Options{Authorize: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		for _, address := range []string{"", "style.css", "page.js", "icon.svg"} {
			pages[address] = httptest.NewRecorder()
			handler.ServeHTTP(pages[address], httptest.NewRequestWithContext(t.Context(), http.MethodGet, outboxpage.DefaultPath+address, nil))
		}
		require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
	})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, found := pages[strings.TrimPrefix(r.URL.Path, outboxpage.DefaultPath)]
		if !found {
			http.NotFound(w, r)
			return
		}
		for name, values := range page.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(page.Code)
		_, _ = w.Write(page.Body.Bytes())
	}))
	t.Cleanup(site.Close)
	return site.URL + outboxpage.DefaultPath
}

// The screenshots of core/docs/observability.md: an app whose server was down for four
// minutes.
func TestAfterAnOutage(t *testing.T) {
	address := afterAnOutage(t)
	p := testbrowser.New(t)
	p.Size(1200, 900)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		p.Go(address)
		p.See("#hour", "Last hour")
		p.Until(`document.querySelectorAll("#hour rect").length >= 60`)
		p.Until(`[...document.querySelectorAll("#hour rect")].every(r => r.getBoundingClientRect().height >= 1)`)
		colours := testbrowser.Eval[int](p, `new Set([...document.querySelectorAll("#hour rect, #hour dt")].map(e =>
			e.tagName === "DT" ? getComputedStyle(e, "::before").backgroundColor : getComputedStyle(e).fill)).size`)
		assert.Equal(t, 3, colours, "the bars have the colours of the counts")
		p.Picture("outboxpage-readme-" + map[bool]string{false: "light", true: "dark"}[dark])
	}
	p.Size(360, 800)
	p.Go(address)
	p.See("#hour", "Last hour")
	assert.False(t, p.Overflows())
	p.Picture("outboxpage-hour-phone")
}
