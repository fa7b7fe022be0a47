package outboxpage

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// The page of an inbox lists, retries and discards messages as the page of an outbox
// does, with its own texts and without the parts that need a client.
func TestInbox(t *testing.T) {
	store := memory.New()
	handler, err := Inbox(store, Options{Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, err)
	site := httptest.NewServer(handler)
	t.Cleanup(site.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	a := &app{t: t, url: site.URL + DefaultInboxPath, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	get := func(address string) string {
		t.Helper()
		reply := a.do(http.MethodGet, address, nil)
		assert.NotContains(t, reply.body, "outbox")
		return reply.body
	}
	body := get("")
	assert.Contains(t, body, "Postoffice inbox</title>")
	assert.Contains(t, body, "Unhandled messages")
	assert.Contains(t, body, "Everything is handled")
	assert.NotContains(t, body, "Last hour")
	assert.NotContains(t, body, "Circuit breaker")

	for n := range 3 {
		record := pagetest.Record(n)
		require.NoError(t, store.Insert(t.Context(), 0, record))
	}
	body = get("?state=pending")
	assert.Contains(t, body, id(1))
	assert.Contains(t, body, "Retry all <bdi>messages to handle")
	assert.Contains(t, get("message?id="+id(1)), "hush")
	assert.Contains(t, get("message?id=none"), "The inbox has no message with this id. It was handled or discarded")
	confirm := a.do(http.MethodPost, "discard", url.Values{"all": {"yes"}})
	assert.Contains(t, confirm.body, "never handled")
	assert.Equal(t, http.StatusSeeOther, a.do(http.MethodPost, "retry", url.Values{"id": {id(1)}}).status)
}

// The page lists the topics of the inbox.
func TestInboxTopics(t *testing.T) {
	store := memory.New()
	require.NoError(t, store.Insert(t.Context(), 0, pagetest.Record(1)))
	handler, err := Inbox(store, Options{Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultInboxPath, nil))
	topics := section(t, w.Body.String(), "topics")
	assert.Contains(t, topics, "To handle")
	assert.Contains(t, topics, "./?topic=orders")
}

func TestInboxOptions(t *testing.T) {
	_, err := Inbox(nil, Options{Authorize: func(*http.Request) bool { return true }})
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	require.ErrorContains(t, err, "store")
	_, err = Inbox(memory.New(), Options{})
	require.ErrorContains(t, err, "Options.Authorize")
	_, err = Inbox(memory.New(), Options{Authorize: func(*http.Request) bool { return true }, Path: "inbox"})
	require.ErrorContains(t, err, "Options.Path")
}
