package devserver

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

func TestOverview(t *testing.T) {
	s := start(t, Options{})
	empty := s.get("/")
	for _, text := range []string{"No topics yet", "No consumers yet", "No messages.", "No attempts.", "no topic has recovery enabled"} {
		assert.Contains(t, empty, text)
	}
	good := pagetest.NewConsumer(t, 200)
	target := strings.Replace(good.URL, "http://", "http://user:secret@", 1) + "/hook"
	s.addTopic("orders", target)
	s.accept(wire.ConsumersPath, `{"topic":"orders","target":"projects/p/topics/t","type":"pubsub","active":true}`)
	s.accept(wire.TopicsPath, `{"name":"bills","origin_host":"http://user:secret@127.0.0.1:9/o/","recovery_enabled":true}`)
	s.publish("orders", `{"order":17}`)
	s.publish("bills", `{"bill":1}`)
	eventually(t, func() bool { return strings.Contains(s.get("/"), ">200<") }, "the attempt is listed")
	body := s.get("/")
	for _, text := range []string{
		"orders", "bills", good.URL + "/hook", "shown, not sent", "1 kept", "{&#34;order&#34;:17}",
		"no consumer, discarded", "kept, not sent", "127.0.0.1:9/o/", "recovery", "/dev/consumers/1/pause", "Run it now",
	} {
		assert.Contains(t, body, text)
	}
	assert.NotContains(t, body, "secret")
	assert.NotContains(t, body, "/dev/consumers/2/pause", "nothing is sent to a pubsub consumer")
}

func TestHeaders(t *testing.T) {
	s := start(t, Options{})
	for _, path := range []string{"/", "/dev/messages", "/dev/assets/style.css", "/dev/assets/live.js", "/dev/nothing"} {
		header := s.do(http.MethodGet, path, nil).header
		assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'", path)
		assert.NotContains(t, header.Get("Content-Security-Policy"), "unsafe")
		assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		assert.Equal(t, "same-origin", header.Get("Referrer-Policy"))
	}
	body := s.get("/")
	assert.NotContains(t, body, "<style")
	assert.NotContains(t, body, " style=")
	assert.NotContains(t, body, " onclick")
	for path, kind := range map[string]string{"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		assert.Contains(t, s.do(http.MethodGet, "/dev/assets/"+path, nil).header.Get("Content-Type"), kind)
	}
	assert.Equal(t, 404, s.do(http.MethodGet, "/dev/assets/none.css", nil).status)
}

// All other paths are the API, which responds as recorded from a real server.
func TestPathsOfTheAPI(t *testing.T) {
	s := start(t, Options{})
	const notFound = `{"errors":{"detail":"Not Found"}}`
	for _, path := range []string{"/api", "/nope", "/device", "/api/dev/", "/favicon.ico"} {
		got := s.do(http.MethodGet, path, nil)
		assert.Equal(t, 404, got.status, path)
		assert.JSONEq(t, notFound, got.body, path)
		assert.Equal(t, "Cowboy", got.header.Get("Server"))
		assert.Empty(t, got.header.Get("Content-Security-Policy"))
	}
	assert.Equal(t, 200, s.do(http.MethodGet, "/api/health/", nil).status)
	assert.Equal(t, 200, s.do(http.MethodGet, "//api//health", nil).status, "paths are not cleaned by a redirect")
	assert.Equal(t, 404, s.do(http.MethodPost, "/", url.Values{}).status)
	assert.JSONEq(t, notFound, s.do(http.MethodPost, "/", url.Values{}).body)
}

func TestNotFound(t *testing.T) {
	s := start(t, Options{})
	for _, path := range []string{"/dev/nothing", "/dev/messages/7", "/dev/messages/x", "/dev/messages/7/payload"} {
		got := s.do(http.MethodGet, path, nil)
		assert.Equal(t, 404, got.status, path)
		assert.Contains(t, got.body, "<h1>", path)
	}
	assert.Equal(t, 404, s.do(http.MethodGet, "/dev/publish", nil).status)
	assert.Equal(t, "/", s.do(http.MethodGet, "/dev", nil).header.Get("Location"))
	assert.Equal(t, 404, s.do(http.MethodPost, "/dev/consumers/1/pause", url.Values{}).status)
	s.addTopic("orders", "http://127.0.0.1:9/")
	assert.Equal(t, 404, s.do(http.MethodPost, "/dev/consumers/1/explode", url.Values{}).status)
	s.publish("orders", "{}")
	assert.Equal(t, 404, s.do(http.MethodGet, "/dev/messages/1/secrets", nil).status)
}

func TestPublish(t *testing.T) {
	s := start(t, Options{})
	good := pagetest.NewConsumer(t, 200)
	s.addTopic("orders", good.URL)
	s.addTopic("lonely")
	location := s.post("/dev/publish", url.Values{"topic": {"orders"}, "payload": {" {\"order\": 17}\n"}, "attributes": {`{"kind":"new"}`}, "back": {"/dev/messages?topic=orders"}})
	assert.Equal(t, "/dev/messages?count=1&note=published&topic=orders", location)
	assert.Contains(t, s.get(location), "Published: 1 delivery.")
	eventually(t, func() bool { return len(good.Received()) == 1 }, "it is delivered")
	assert.JSONEq(t, `{"order":17,"attributes":{"kind":"new"}}`, good.Received()[0].Body)
	location = s.post("/dev/publish", url.Values{"topic": {"lonely"}, "payload": {"{}"}})
	assert.Contains(t, s.get(location), "The real server does the same.")

	for name, c := range map[string]struct{ topic, payload, attributes, want string }{
		"topic":            {"none", "{}", "", "Choose a topic that exists."},
		"payload":          {"orders", `[1]`, "", "The payload must be a JSON object"},
		"payload, broken":  {"orders", `{"<i>`, "", "The payload must be a JSON object"},
		"payload, empty":   {"orders", "", "", "The payload must be a JSON object"},
		"payload, NUL":     {"orders", `{"a":"\u0000"}`, "", "The server does not accept it"},
		"payload, half":    {"orders", `{"a":"\ud800"}`, "", "The server does not accept it"},
		"attributes":       {"orders", "{}", `{"a":1}`, "The attributes must be a JSON object of strings"},
		"attributes, null": {"orders", "{}", `{"a":null}`, "The values of attributes must be strings"},
		"attributes, list": {"orders", "{}", `[]`, "The attributes must be a JSON object of strings"},
		"attributes, none": {"orders", "{}", `null`, "The attributes must be a JSON object of strings"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(http.MethodPost, "/dev/publish", url.Values{"topic": {c.topic}, "payload": {c.payload}, "attributes": {c.attributes}})
			assert.Equal(t, 422, got.status)
			assert.Contains(t, got.body, c.want)
			assert.Contains(t, got.body, `aria-invalid="true"`)
			assert.NotContains(t, got.body, "<i>")
		})
	}
	assert.Len(t, good.Received(), 1)

	got := s.do(http.MethodPost, "/dev/publish", url.Values{"payload": {strings.Repeat("x", maxForm)}})
	assert.Equal(t, 413, got.status)
}

func TestBackStaysHere(t *testing.T) {
	s := start(t, Options{})
	for _, address := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "/api/health", "javascript:alert(1)", "dev/", ""} {
		location := s.post("/dev/mend", url.Values{"back": {address}})
		assert.Equal(t, "/?note=mended", location, address)
	}
	assert.Equal(t, "/dev/attempts?before=3&note=mended", s.post("/dev/mend", url.Values{"back": {"/dev/attempts?before=3&note=x&count=9"}}))
	assert.NotContains(t, s.get("/?note=%3Cb%3Ehello&count=x"), "hello")
}

// TestInactiveConsumer checks that a consumer registered as inactive still receives
// messages, as on the real server, until it is paused here.
func TestInactiveConsumer(t *testing.T) {
	s := start(t, Options{})
	consumer := pagetest.NewConsumer(t, 200)
	s.addTopic("orders")
	s.accept(wire.ConsumersPath, fmt.Sprintf(`{"topic":"orders","target":%q,"type":"http","active":false}`, consumer.URL))
	s.publish("orders", "{}")
	eventually(t, func() bool { return strings.Contains(s.get("/"), "1 delivered") }, "it is delivered")
	assert.Contains(t, s.get("/dev/consumers"), "pause ignored")
	assert.Contains(t, s.post("/dev/consumers/1/pause", url.Values{}), "note=paused")
	s.publish("orders", "{}")
	eventually(t, func() bool { return strings.Contains(s.get("/dev/messages/2"), "paused") }, "it waits")
	assert.NotContains(t, s.get("/dev/consumers"), "ignored")
	assert.Len(t, consumer.Received(), 1)
}

func TestPauseAndResume(t *testing.T) {
	s := start(t, Options{MaxRetryGap: MinRetryGap})
	good := pagetest.NewConsumer(t, 200)
	s.addTopic("orders", good.URL)
	location := s.post("/dev/consumers/1/pause", url.Values{"back": {"/dev/consumers"}})
	assert.Equal(t, "/dev/consumers?note=paused", location)
	body := s.get(location)
	assert.Contains(t, body, "/dev/consumers/1/resume")
	assert.NotContains(t, body, "/dev/consumers/1/pause")
	s.publish("orders", `{}`)
	eventually(t, func() bool { return strings.Contains(s.get("/"), "1 waiting") }, "it waits")
	assert.Contains(t, s.post("/dev/consumers/1/retry", url.Values{}), "note=is-paused")
	eventually(t, func() bool { return strings.Contains(s.post("/dev/jobs/1/retry", url.Values{}), "note=is-paused") }, "it cannot be retried")
	assert.Empty(t, good.Received())
	s.post("/dev/consumers/1/resume", url.Values{})
	eventually(t, func() bool { return len(good.Received()) == 1 }, "it is delivered within the maximum gap")
}

func TestRetry(t *testing.T) {
	s := start(t, Options{})
	consumer := pagetest.NewConsumer(t, 503)
	s.addTopic("orders", consumer.URL)
	s.publish("orders", `{"n":1}`)
	s.publish("orders", `{"n":2}`)
	eventually(t, func() bool { return strings.Count(s.get("/dev/attempts"), "Retry now") == 2 }, "both have failed")
	assert.Contains(t, s.get("/dev/messages/1"), "waiting for retry")
	assert.Contains(t, s.get("/dev/attempts"), ">503</span> <span class=\"quiet\"><bdi>Service Unavailable<")

	consumer.Status.Store(200)
	assert.Equal(t, "/dev/attempts?count=1&note=retried", s.post("/dev/jobs/1/retry", url.Values{"back": {"/dev/attempts"}}))
	eventually(t, func() bool { return len(consumer.Received()) == 3 }, "it is retried before it is due")
	assert.Equal(t, "1", consumer.IDs()[2])
	eventually(t, func() bool { return strings.Contains(s.post("/dev/jobs/1/retry", url.Values{}), "note=settled") }, "it is delivered")
	assert.Contains(t, s.post("/dev/jobs/77/retry", url.Values{}), "note=no-job")
	assert.Contains(t, s.post("/dev/jobs/x/retry", url.Values{}), "note=no-job")

	assert.Contains(t, s.post("/dev/consumers/1/retry", url.Values{}), "count=1&note=retried")
	eventually(t, func() bool { return len(consumer.Received()) == 4 }, "the other one follows")
	eventually(t, func() bool { return !strings.Contains(s.get("/"), "waiting") }, "nothing waits")
	assert.Contains(t, s.post("/dev/consumers/1/retry", url.Values{}), "note=settled")
}

func TestRetriesByTheClock(t *testing.T) {
	s := start(t, Options{MaxRetryGap: MinRetryGap})
	consumer := pagetest.NewConsumer(t, 500)
	s.addTopic("orders", consumer.URL)
	s.publish("orders", `{}`)
	eventually(t, func() bool { return len(consumer.Received()) >= 3 }, "it is retried")
	consumer.Status.Store(204)
	eventually(t, func() bool { return strings.Contains(s.get("/"), ">204<") }, "until it is accepted")
}

func TestRescuer(t *testing.T) {
	s := start(t, Options{})
	origin := pagetest.NewConsumer(t, 500)
	s.accept(wire.TopicsPath, fmt.Sprintf(`{"name":"orders","origin_host":"%s/o/","recovery_enabled":true}`, origin.URL))
	assert.Contains(t, s.post("/dev/rescue", url.Values{}), "note=rescue")
	eventually(t, func() bool { return strings.Contains(s.get("/"), "GET: status 500") }, "the run is listed")
}

// events reads server-sent events until the test ends.
func (s *running) events() <-chan string {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/dev/events", nil)
	require.NoError(s.t, err)
	response, err := s.client.Do(request) //nolint:bodyclose // below, when the stream ends
	require.NoError(s.t, err)
	require.Equal(s.t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		defer func() { _ = response.Body.Close() }()
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			if scanner.Text() != "" {
				lines <- scanner.Text()
			}
		}
	}()
	return lines
}

// ends waits until the server closes a stream.
func ends(t *testing.T, events <-chan string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, open := <-events:
			if !open {
				return
			}
		case <-late:
			require.Fail(t, "the stream does not end")
		}
	}
}

func TestEvents(t *testing.T) {
	s := start(t, Options{})
	next := func(events <-chan string) {
		t.Helper()
		select {
		case event := <-events:
			require.Equal(t, "data: changed", event)
		case <-time.After(patience):
			require.Fail(t, "no event")
		}
	}
	one, other := s.events(), s.events()
	next(one)
	next(other)
	s.addTopic("orders")
	next(one)
	next(other)
	s.post("/dev/break", url.Values{"how": {"hang"}})
	next(one)
	next(other)
	require.NoError(t, s.stop(), "streams do not delay the shutdown")
	ends(t, one)
	ends(t, other)
}

func TestPagesOfLists(t *testing.T) {
	s := start(t, Options{})
	for i := range pageRows + 3 {
		s.addTopic(fmt.Sprintf("topic-%03d", i), fmt.Sprintf("http://127.0.0.1:9/%03d", i))
	}
	s.accept(wire.TopicsPath, `{"name":"plain","origin_host":"h"}`)
	for i := range pageRows + 2 {
		s.publish("plain", fmt.Sprintf(`{"order":"order-%03d"}`, i))
	}
	s.publish("topic-000", `{"other":true}`)

	overview := s.get("/")
	assert.Equal(t, overviewRows, strings.Count(overview, `id="topic-`)-strings.Count(overview, `id="topic-choice`))
	assert.Contains(t, overview, "All 54 topics")
	assert.Contains(t, overview, "All 53 consumers")
	assert.Equal(t, overviewRows, strings.Count(overview, `id="message-`))

	for list, last := range map[string]string{"/dev/topics": "topic-052", "/dev/consumers": "http://127.0.0.1:9/052"} {
		first := s.get(list)
		assert.Contains(t, first, list+"?page=1")
		assert.NotContains(t, first, last)
		second := s.get(list + "?page=1")
		assert.Contains(t, second, last)
		assert.Contains(t, second, list+"?page=0")
		assert.Contains(t, s.get(list+"?page=999999"), last, "the last page")
		s.get(list + "?page=-1")
	}

	messages := s.get("/dev/messages?topic=plain")
	assert.Equal(t, pageRows, strings.Count(messages, `id="message-`))
	assert.Contains(t, messages, "order-051")
	assert.NotContains(t, messages, "order-001&#34;")
	assert.NotContains(t, messages, "other")
	assert.Contains(t, messages, "/dev/messages?before=3&amp;topic=plain")
	assert.Contains(t, messages, `value="plain"`)
	older := s.get("/dev/messages?before=3&topic=plain")
	assert.Contains(t, older, "order-001")
	assert.Contains(t, older, "order-000")
	assert.Equal(t, 2, strings.Count(older, `id="message-`))
	assert.Contains(t, older, `href="/dev/messages?topic=plain"`)
	s.get("/dev/messages?before=nonsense")

	location := s.post("/dev/consumers/1/retry", url.Values{"back": {"/dev/consumers"}})
	assert.Contains(t, s.get(location), "Consumers")
}

func TestHostileTexts(t *testing.T) {
	s := start(t, Options{})
	quoted := strings.ReplaceAll(pagetest.Hostile, `"`, `\"`)
	s.addTopicNamed(quoted)
	s.accept(wire.ConsumersPath, `{"topic":"`+quoted+`","target":"http://127.0.0.1:9/`+quoted+`","type":"http","active":true}`)
	s.accept(wire.MessagePath, `{"topic":"`+quoted+`","payload":{"k":"`+quoted+`"},"attributes":{"a":"`+quoted+`"}}`)
	eventually(t, func() bool { return strings.Contains(s.get("/dev/attempts"), "Retry now") }, "the attempt has failed")
	for _, path := range []string{"/", "/dev/topics", "/dev/consumers", "/dev/messages", "/dev/messages/1", "/dev/attempts", "/dev/messages?topic=" + url.QueryEscape(pagetest.Hostile)} {
		body := s.get(path)
		assert.NotContains(t, body, "<script>document", path)
		assert.NotContains(t, body, "<img", path)
		assert.Contains(t, body, "&lt;script&gt;", path)
	}
	// Characters that change the direction are escaped in visible text, but not in
	// values that are sent back.
	assert.Contains(t, s.get("/dev/messages/1"), `\u202e`)
	assert.NotContains(t, s.get("/dev/messages/1"), "\u202e")

	raw := s.do(http.MethodGet, "/dev/messages/1/payload", nil)
	assert.Equal(t, "text/plain; charset=utf-8", raw.header.Get("Content-Type"))
	assert.Contains(t, raw.header.Get("Content-Security-Policy"), "sandbox;")
	assert.Equal(t, "{\"k\":\""+quoted+"\"}", raw.body)
}

func (s *running) addTopicNamed(quoted string) {
	s.accept(wire.TopicsPath, `{"name":"`+quoted+`","origin_host":"http://127.0.0.1:9/<b>"}`)
}

func TestLongPayload(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	payload := `{"text":"` + strings.Repeat("é", 1<<20) + `"}`
	s.publish("orders", payload)
	s.publish("orders", `{"list":[`+strings.Repeat("1,", 30_000)+`1]}`)
	assert.Less(t, len(s.get("/")), 30_000)
	body := s.get("/dev/messages/1")
	assert.Less(t, len(body), 100_000)
	assert.Contains(t, body, "2,097,163 bytes; only the beginning is shown")
	assert.Contains(t, body, "…")
	assert.NotContains(t, body, "\uFFFD", "characters are not cut apart")
	assert.Contains(t, s.get("/dev/messages/2"), "only the beginning is shown")
	assert.Equal(t, payload, s.do(http.MethodGet, "/dev/messages/1/payload", nil).body)
	assert.Equal(t, `{"kind":"new"}`, s.do(http.MethodGet, "/dev/messages/1/attributes", nil).body)
}

// A message without payload and attributes is accepted and shown.
func TestBareMessage(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders", "http://127.0.0.1:9/")
	s.accept(wire.MessagePath, `{"topic":"orders"}`)
	body := s.get("/dev/messages/1")
	assert.Equal(t, 2, strings.Count(body, "The message has none."))
	assert.Contains(t, body, "undeliverable")
}

func TestScheduledMessage(t *testing.T) {
	s := start(t, Options{})
	consumer := pagetest.NewConsumer(t, 200)
	s.addTopic("orders", consumer.URL)
	s.accept(wire.SchedulePath, `{"topic":"orders","payload":{},"attributes":{},"schedule_at":"2099-01-02T03:04:05Z"}`)
	body := s.get("/dev/messages/1")
	assert.Contains(t, body, "to be delivered at 2099-01-0")
	assert.Contains(t, body, ">waiting<")
	assert.Contains(t, s.post("/dev/consumers/1/retry", url.Values{}), "note=settled", "it is not due")
	s.post("/dev/jobs/1/retry", url.Values{})
	eventually(t, func() bool { return len(consumer.Received()) == 1 }, "it can be delivered now")
}
