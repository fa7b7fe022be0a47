package devserver

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// refused sends a form with an invalid field and returns the page with the error.
func (r *running) refused(path, field, want string, fields url.Values) string {
	r.t.Helper()
	got := r.do(http.MethodPost, path, fields)
	assert.Equal(r.t, 422, got.status)
	assert.Contains(r.t, got.body, want)
	assert.Equal(r.t, 1, strings.Count(got.body, `class="wrong"`))
	assert.Contains(r.t, got.body, `class="wrong" id="`+field+`-error"`)
	_, input, _ := strings.Cut(got.body, `id="`+field+`" `)
	input, _, _ = strings.Cut(input, ">")
	assert.Contains(r.t, input, `aria-invalid="true"`)
	assert.Contains(r.t, input, field+"-error")
	return got.body
}

func TestCreateTopic(t *testing.T) {
	s := start(t, Options{})
	location := s.post("/dev/topics", url.Values{"name": {" orders "}, "origin_host": {"http://user:secret@127.0.0.1:9/o/"}, "recovery": {"on"}, "back": {"/dev/topics"}})
	assert.Equal(t, "/dev/topics?note=topic-created", location)
	body := s.get(location)
	for _, text := range []string{"The topic is created.", "orders", "127.0.0.1:9/o/", "recovery</span>"} {
		assert.Contains(t, body, text)
	}
	assert.NotContains(t, body, "secret")
	status, _ := s.api(wire.TopicsPath, `{"name":"orders","origin_host":"h"}`)
	assert.Equal(t, 409, status, "the API has the topic too")

	long := strings.Repeat("é", 256)
	for want, c := range map[string]struct{ field, name, origin string }{
		"A topic with this name already exists.": {"name", "orders", "h"},
		"Enter at most 255 characters.":          {"name", long, "h"},
		"This field is required.":                {"name", " ", "h"},
		"The NUL character is not allowed.":      {"name", "a\x00b", "h"},
	} {
		s.refused("/dev/topics", c.field, want, url.Values{"name": {c.name}, "origin_host": {c.origin}})
	}
	s.refused("/dev/topics", "origin_host", "This field is required.", url.Values{"name": {"bills"}})
	body = s.refused("/dev/topics", "origin_host", "Enter at most 255", url.Values{"name": {`<i>"bills`}, "origin_host": {long}, "recovery": {"on"}})
	assert.Contains(t, body, `value="&lt;i&gt;&#34;bills"`, "submitted values are kept")
	assert.Contains(t, body, ` checked`)
	assert.NotContains(t, s.get("/dev/topics"), "bills")
}

func TestCreateConsumer(t *testing.T) {
	s := start(t, Options{})
	good := pagetest.NewConsumer(t, 200)
	s.addTopicNamed(" orders")
	form := func(changed ...string) url.Values {
		fields := url.Values{"topic": {" orders"}, "target": {good.URL + "/a"}, "type": {"http"}, "timeout": {"7"}, "active": {"on"}, "back": {"/dev/consumers"}}
		for i := 0; i < len(changed); i += 2 {
			fields.Set(changed[i], changed[i+1])
		}
		return fields
	}
	location := s.post("/dev/consumers", form())
	assert.Equal(t, "/dev/consumers?note=consumer-created", location)
	body := s.get(location)
	assert.Contains(t, body, "times out after 7 seconds")
	s.publish(" orders", `{"n":1}`)
	eventually(t, func() bool { return len(good.Received()) == 1 }, "it receives messages")

	s.post("/dev/consumers", form("target", good.URL+"/paused", "active", ""))
	s.post("/dev/consumers", form("target", "projects/p/topics/t", "type", "pubsub"))
	body = s.get("/dev/consumers")
	assert.Contains(t, body, "/dev/consumers/2/resume")
	assert.Contains(t, body, "shown, not sent")
	assert.Contains(t, body, `href="/dev/consumers/3"`, "a Pub/Sub consumer can be edited")

	for want, c := range map[string]struct{ field, value string }{
		"Choose a topic that exists.":                          {"topic", "none"},
		"This field is required.":                              {"target", ""},
		"Enter at most 255 characters.":                        {"target", strings.Repeat("x", 256)},
		"already has a consumer with this target and type":     {"target", good.URL + "/a"},
		"Choose one of the types.":                             {"type", "smtp"},
		"Enter a whole number of seconds from 1 to 86400.":     {"timeout", "0"},
		"Enter a whole number of seconds from 1 to 86400.\n":   {"timeout", "1.5"},
		"Enter a whole number of seconds from 1 to 86400.\n\n": {"timeout", "86401"},
	} {
		changed := []string{"target", good.URL + "/b"}
		s.refused("/dev/consumers", c.field, strings.TrimSpace(want), form(append(changed, c.field, c.value)...))
	}
	assert.NotContains(t, s.get("/dev/consumers"), "/dev/consumers/4")
}

func TestEditConsumer(t *testing.T) {
	s := start(t, Options{})
	before, after := pagetest.NewConsumer(t, 503), pagetest.NewConsumer(t, 200)
	secret := strings.Replace(before.URL, "http://", "http://user:secret@", 1) + "/a"
	s.addTopic("orders", secret, before.URL+"/b")
	s.publish("orders", `{"n":1}`)
	eventually(t, func() bool { return len(before.Received()) == 2 }, "both are tried")

	page := s.get("/dev/consumers/1")
	assert.Contains(t, page, `value="`+before.URL+`/a"`)
	assert.Contains(t, page, "Its credentials are not shown.")
	assert.NotContains(t, page, "secret")
	assert.NotContains(t, s.get("/dev/consumers/2"), "Its credentials")

	form := func(target, timeout, active string) url.Values {
		return url.Values{"target": {target}, "timeout": {timeout}, "active": {active}, "back": {"/dev/consumers"}}
	}
	assert.Equal(t, "/dev/consumers?note=consumer-changed", s.post("/dev/consumers/1", form(before.URL+"/a", "9", "on")))
	assert.Contains(t, s.get("/dev/consumers"), "times out after 9 seconds")
	assert.Contains(t, s.get("/dev/consumers/1"), "Its credentials are not shown.", "they are kept with the URL")
	s.post("/dev/consumers/1", form(after.URL, "9", ""))
	s.publish("orders", `{"n":2}`)
	eventually(t, func() bool { return strings.Contains(s.get("/dev/messages/2"), "paused") }, "it is paused")
	assert.Contains(t, s.get("/dev/messages/1"), before.URL+"/a", "waiting messages keep their target")
	s.post("/dev/consumers/1", form(after.URL, "9", "on"))
	s.post("/dev/consumers/1/retry", url.Values{})
	eventually(t, func() bool { return len(after.Received()) == 1 }, "new messages go to the new target")

	page = s.refused("/dev/consumers/2", "target", "already has a consumer with this target and type", form(after.URL, "5", "on"))
	assert.Contains(t, page, `value="`+after.URL+`"`)
	s.refused("/dev/consumers/2", "target", "This field is required.", form("", "5", "on"))
	s.refused("/dev/consumers/2", "timeout", "Enter a whole number", form(after.URL+"/c", "x", "on"))
	for _, path := range []string{"/dev/consumers/7", "/dev/consumers/x"} {
		assert.Equal(t, 404, s.do(http.MethodGet, path, nil).status, path)
		assert.Equal(t, 404, s.do(http.MethodPost, path, form("t", "5", "on")).status, path)
	}
}

func TestDeleteConsumer(t *testing.T) {
	s := start(t, Options{})
	consumer := pagetest.NewConsumer(t, 503)
	s.addTopic("orders", consumer.URL)
	s.publish("orders", `{}`)
	eventually(t, func() bool { return strings.Contains(s.get("/dev/attempts"), "Retry now") }, "it waits")
	assert.Equal(t, "/dev/consumers?note=consumer-deleted", s.post("/dev/consumers/1/delete", url.Values{"back": {"/dev/consumers"}}))
	body := s.get("/dev/consumers")
	assert.Contains(t, body, "deleted</span>")
	assert.NotContains(t, body, `href="/dev/consumers/1"`)
	assert.Equal(t, 404, s.do(http.MethodGet, "/dev/consumers/1", nil).status)
	assert.Equal(t, 404, s.do(http.MethodPost, "/dev/consumers/1/delete", url.Values{}).status)
	s.post("/dev/jobs/1/retry", url.Values{})
	eventually(t, func() bool { return strings.Contains(s.get("/dev/messages/1"), "discarded") }, "waiting messages are discarded")
	assert.Len(t, consumer.Received(), 1)
	s.refused("/dev/consumers", "target", "was deleted. It can never be created again", url.Values{
		"topic": {"orders"}, "target": {consumer.URL}, "type": {"http"}, "timeout": {"5"}, "active": {"on"},
	})
}

func TestCancel(t *testing.T) {
	s := start(t, Options{})
	consumer := pagetest.NewConsumer(t, 503)
	s.addTopic("orders", consumer.URL)
	s.publish("orders", `{}`)
	eventually(t, func() bool { return strings.Contains(s.get("/dev/messages/1"), "cancel-job-1") }, "it waits")
	assert.Equal(t, "/dev/messages/1?note=cancelled", s.post("/dev/jobs/1/cancel", url.Values{"back": {"/dev/messages/1"}}))
	body := s.get("/dev/messages/1?note=cancelled")
	assert.Contains(t, body, "The delivery is cancelled.")
	assert.Contains(t, body, "cancelled</span>")
	assert.NotContains(t, body, "cancel-job-1")
	assert.NotContains(t, body, "retry-job-1")
	assert.Contains(t, s.get("/"), "1 cancelled")
	assert.Contains(t, s.post("/dev/jobs/1/cancel", url.Values{}), "note=settled")
	assert.Contains(t, s.post("/dev/jobs/1/retry", url.Values{}), "note=settled")
	assert.Contains(t, s.post("/dev/jobs/7/cancel", url.Values{}), "note=no-job")
	assert.Equal(t, 404, s.do(http.MethodPost, "/dev/jobs/1/explode", url.Values{}).status)
}

// TestManagedIsKept restarts a server after changes on its pages.
func TestManagedIsKept(t *testing.T) {
	o := Options{File: filepath.Join(t.TempDir(), "dev.db")}
	s := start(t, o)
	consumer := pagetest.NewConsumer(t, 503)
	s.post("/dev/topics", url.Values{"name": {"orders"}, "origin_host": {"h/"}})
	for _, path := range []string{"/a", "/b"} {
		s.post("/dev/consumers", url.Values{"topic": {"orders"}, "target": {consumer.URL + path}, "type": {"http"}, "timeout": {"5"}, "active": {"on"}})
	}
	s.publish("orders", `{}`)
	eventually(t, func() bool { return strings.Count(s.get("/dev/messages/1"), "waiting for retry") == 2 }, "both wait")
	s.post("/dev/jobs/1/cancel", url.Values{})
	s.post("/dev/consumers/1", url.Values{"target": {consumer.URL + "/changed"}, "timeout": {"9"}, "active": {""}})
	s.post("/dev/consumers/2/delete", url.Values{})
	assert.NoError(t, s.stop())

	s = start(t, o)
	body := s.get("/dev/consumers")
	for _, text := range []string{"/changed", "times out after 9 seconds", "/dev/consumers/1/resume", "deleted</span>", "1 cancelled"} {
		assert.Contains(t, body, text)
	}
	message := s.get("/dev/messages/1")
	assert.Contains(t, message, consumer.URL+"/b")
	assert.Contains(t, message, "cancelled</span>")
}
