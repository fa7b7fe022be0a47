package devserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// listed returns the numbers of the messages or attempts on a page.
func (s *running) listed(path string) []string {
	s.t.Helper()
	var numbers []string
	for _, row := range regexp.MustCompile(`<tr role="row" id="(?:message|attempt)-(\d+)"`).FindAllStringSubmatch(s.get(path), -1) {
		numbers = append(numbers, row[1])
	}
	return numbers
}

// Messages and attempts are found by text, topic and state.
func TestSearch(t *testing.T) {
	s := start(t, Options{})
	good, bad := pagetest.NewConsumer(t, 200), pagetest.NewConsumer(t, 503)
	s.addTopic("orders", good.URL+"/good")
	s.addTopic("bills", bad.URL+"/bad")
	s.addTopic("audit")
	s.accept(wire.ConsumersPath, `{"topic":"audit","target":"projects/p/topics/t","type":"pubsub","active":true}`)
	s.publish("orders", `{"name":"Ada"}`)                                                                                             // 1: delivered
	s.publish("bills", `{"name":"Grace"}`)                                                                                            // 2: waiting for retry
	s.publish("audit", `{"name":"Ada L."}`)                                                                                           // 3: kept
	s.accept(wire.MessagePath, `{"topic":"bills","payload":[1],"attributes":{}}`)                                                     // 4: undeliverable
	s.accept(wire.SchedulePath, `{"topic":"orders","payload":{},"attributes":{"kind":"later"},"schedule_at":"2099-01-02T03:04:05Z"}`) // 5: waiting
	s.addTopic("lonely")
	s.publish("lonely", `{}`) // 6: discarded
	eventually(t, func() bool { return len(s.listed("/dev/attempts")) == 2 }, "both attempts have ended")
	for query, want := range map[string][]string{
		"":                          {"6", "5", "4", "3", "2", "1"},
		"q=ada":                     {"3", "1"},
		"q=ADA&topic=orders":        {"1"},
		"q=LATER":                   {"5"},
		"q=bill":                    {"4", "2"},
		"q=nothing":                 nil,
		"state=waiting":             {"5", "2"},
		"state=retrying":            {"2"},
		"state=delivered":           {"1"},
		"state=failed":              {"4"},
		"state=kept":                {"3"},
		"state=discarded":           {"6"},
		"state=waiting&topic=bills": {"2"},
		"state=none":                {"6", "5", "4", "3", "2", "1"},
	} {
		assert.Equal(t, want, s.listed("/dev/messages?"+query), query)
	}
	ok, failed := s.listed("/dev/attempts?state=delivered"), s.listed("/dev/attempts?state=failed")
	assert.Len(t, ok, 1)
	assert.Len(t, failed, 1)
	assert.NotEqual(t, ok, failed)
	for query, want := range map[string][]string{
		"q=unavailable": failed, "q=503": failed, "q=/GOOD": ok, "topic=bills": failed, "message=1": ok, "message=2": failed,
		"message=2&state=delivered": nil, "q=nothing": nil,
	} {
		assert.Equal(t, want, s.listed("/dev/attempts?"+query), query)
	}
	page := s.get("/dev/messages?q=%22%3Ci%3E&topic=x&state=kept")
	assert.Contains(t, page, `value="&#34;&lt;i&gt;"`)
	assert.Contains(t, page, `<option value="kept" selected>`)
	assert.Contains(t, page, "No message matches.")
	assert.Contains(t, s.get("/dev/attempts?q=nothing"), "No attempt matches.")
	assert.Contains(t, s.get("/dev/attempts?topic=nothing"), "No attempt matches.")
}

// Letters of any alphabet are found in any case, and a long text by its beginning.
func TestSearchInOtherAlphabets(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	s.publish("orders", `{"name":"ÄRGER mit K"}`)
	s.publish("orders", `{"name":"x`+strings.Repeat("ü", maxSearch)+`"}`)
	for query, want := range map[string][]string{
		"ärger": {"1"}, "ÄRGER MIT": {"1"}, "mit k": {"1"}, "MIT K\"}": {"1"}, "mit kk": nil, "rger": {"1"}, "e": {"2", "1"},
		"x" + strings.Repeat("Ü", maxSearch): {"2"},
	} {
		assert.Equal(t, want, s.listed("/dev/messages?"+url.Values{"q": {query}}.Encode()), query)
	}
}

// The links to further pages keep the search.
func TestSearchInPages(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	for i := range pageRows + 2 {
		s.publish("orders", fmt.Sprintf(`{"n":%d,"even":%t}`, i, i%2 == 0))
		s.publish("orders", `{"even":true}`)
	}
	first := s.get("/dev/messages?q=true&topic=orders")
	link := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(first)
	if assert.Len(t, link, 2) {
		assert.Contains(t, link[1], "q=true&amp;topic=orders")
		assert.Len(t, s.listed(strings.ReplaceAll(link[1], "&amp;", "&")), pageRows/2+1+2)
	}
}

// The page of a message shows its attempts and links to earlier ones.
func TestHistoryOfAttempts(t *testing.T) {
	s := start(t, Options{MaxRetryGap: MinRetryGap})
	s.addTopic("orders", pagetest.NewConsumer(t, 503).URL)
	s.publish("orders", "{}")
	for made := 0; made < 3; {
		s.post("/dev/jobs/1/retry", url.Values{})
		made = len(s.listed("/dev/messages/1"))
	}
	assert.NotContains(t, s.get("/dev/messages/1"), "Earlier attempts")
	eventually(t, func() bool {
		s.post("/dev/jobs/1/retry", url.Values{})
		return strings.Contains(s.get("/dev/messages/1"), "Earlier attempts")
	}, "more attempts than fit on the page")
	link := regexp.MustCompile(`href="([^"]*)" id="older-attempts"`).FindStringSubmatch(s.get("/dev/messages/1"))
	if assert.Len(t, link, 2) {
		older := strings.ReplaceAll(link[1], "&amp;", "&")
		assert.Contains(t, older, "message=1")
		assert.Contains(t, s.listed(older), "1")
		assert.Contains(t, s.get(older), "Only attempts for")
	}
}

// The reason for a missing response is shown as a word and in full.
func TestWords(t *testing.T) {
	s := start(t, Options{})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	reset := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(reset.Close)
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	for i, c := range []struct{ target, word, detail string }{
		{gone.URL, "refused", "connection refused"}, {reset.URL, "cut off", "EOF"}, {slow.URL, "timeout", "deadline exceeded"},
		{"ftp://postoffice.test/", "not sent", "unknown scheme"},
	} {
		topic := fmt.Sprintf("topic-%d", i)
		s.addTopic(topic)
		s.post("/dev/consumers", url.Values{"topic": {topic}, "target": {c.target}, "type": {"http"}, "timeout": {"1"}, "active": {"on"}})
		s.publish(topic, "{}")
		list := "/dev/attempts?topic=" + topic
		eventually(t, func() bool { return len(s.listed(list)) == 1 }, c.word)
		page := s.get(list)
		assert.Contains(t, page, `<span class="badge bad">`+c.word+`</span>`)
		assert.Regexp(t, `<span class="quiet"><bdi>[^<]*`+regexp.QuoteMeta(c.detail), page)
		assert.NotContains(t, page, "postofficetest:")
	}
	for text, want := range map[string]string{
		"dial tcp: lookup shop: no such host": "unknown host", "read tcp: connection reset by peer": "reset",
		"tls: failed to verify certificate": "TLS", "connect: network is unreachable": "unreachable", "something else": "failed",
		context.DeadlineExceeded.Error(): "timeout",
	} {
		badge, detail := outcome(postofficetest.Delivery{Err: errors.New("postofficetest: no answer: " + text)})
		assert.Equal(t, want, badge.Text)
		assert.Equal(t, text, detail)
	}
}
