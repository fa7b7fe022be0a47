package devserver

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// fromOtherSites are headers that browsers, new and old, send with requests from other
// sites.
var fromOtherSites = [][]string{
	{"Sec-Fetch-Site", "cross-site"},
	{"Sec-Fetch-Site", "same-site"}, // another port of this machine
	{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
	{"Origin", "https://evil.example"},
	{"Origin", "null"},
	{"Sec-Fetch-Site", "cross-site", "Origin", "null"},
}

// TestOtherSites sends every request that changes something with these headers.
func TestOtherSites(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders", "http://127.0.0.1:9/")
	form := url.Values{
		"topic": {"orders"}, "payload": {"{}"}, "payload[a]": {"b"}, "attributes[a]": {"b"}, // a message, for page and API
		"name": {"stolen"}, "origin_host": {"http://169.254.169.254/"}, "recovery_enabled": {"true"},
		"target": {"http://169.254.169.254/"}, "type": {"http"}, "active": {"true"}, "_method": {"POST"},
	}
	for _, path := range []string{
		"/dev/publish", "/dev/break", "/dev/mend", "/dev/rescue", "/dev/consumers/1/pause", "/dev/jobs/1/retry",
		"/dev/topics", "/dev/consumers", "/dev/consumers/1", "/dev/consumers/1/delete", "/dev/jobs/1/cancel",
		wire.MessagePath, wire.BulkPath, wire.SchedulePath, wire.TopicsPath, wire.ConsumersPath, wire.ConsumersPath + "/1",
	} {
		for _, headers := range fromOtherSites {
			got := s.do(http.MethodPost, path, form, headers...)
			assert.Equal(t, 403, got.status, "%s %s", path, headers)
			assert.Contains(t, got.body, "This request came from another site")
		}
	}
	remove := url.Values{"_method": {"DELETE"}}
	assert.Equal(t, 403, s.do(http.MethodPost, wire.ConsumersPath+"/1", remove, "Origin", "https://evil.example").status)

	// Browsers also send text and multipart forms without a preflight request.
	for kind, body := range map[string]string{
		"text/plain":       `{"name":"stolen","origin_host":"http://169.254.169.254/","recovery_enabled":true}`,
		"application/json": `{"name":"stolen","origin_host":"http://169.254.169.254/","recovery_enabled":true}`,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+wire.TopicsPath, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", kind)
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		assert.Equal(t, 403, s.send(request).status, kind)
	}
	var parts bytes.Buffer
	writer := multipart.NewWriter(&parts)
	require.NoError(t, writer.WriteField("name", "stolen"))
	require.NoError(t, writer.Close())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+wire.TopicsPath, &parts)
	require.NoError(t, err)
	request.Header.Set("Content-Type", writer.FormDataContentType())
	request.Header.Set("Origin", "https://evil.example")
	assert.Equal(t, 403, s.send(request).status)

	// Reads are refused too.
	for _, path := range []string{"/dev/events", "/dev/messages/1/payload", wire.HealthPath} {
		assert.Equal(t, 403, s.do(http.MethodGet, path, nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors").status, path)
	}

	overview := s.get("/")
	assert.Contains(t, overview, "No messages.")
	assert.NotContains(t, overview, "stolen")
	assert.NotContains(t, overview, "169.254")
	assert.NotContains(t, overview, "deleted")
}

// TestOwnPagesAndClients checks that the server's own pages and API clients are allowed.
func TestOwnPagesAndClients(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	form := url.Values{"topic": {"orders"}, "payload": {"{}"}}
	assert.Equal(t, 303, s.do(http.MethodPost, "/dev/publish", form, "Sec-Fetch-Site", "same-origin").status)
	assert.Equal(t, 303, s.do(http.MethodPost, "/dev/publish", form, "Origin", s.url).status)
	assert.Equal(t, 303, s.do(http.MethodPost, "/dev/publish", form).status)
	// A client of the API sends none of these headers, and can send a form.
	assert.Equal(t, 201, s.do(http.MethodPost, wire.MessagePath, url.Values{"topic": {"orders"}, "payload[k]": {"v"}, "attributes[a]": {"b"}}).status)
	// Following a link and entering the address are allowed.
	assert.Equal(t, 200, s.do(http.MethodGet, "/", nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate").status)
	assert.Equal(t, 200, s.do(http.MethodGet, "/dev/messages", nil, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate").status)
	assert.Equal(t, 200, s.do(http.MethodGet, wire.HealthPath, nil, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate").status)
}

// TestForeignNames sends requests with host names that another site has pointed at this
// machine, so that the browser treats them as the same origin.
func TestForeignNames(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	for _, host := range []string{"evil.example", "evil.example:4000", "127.0.0.1.evil.example", "localhost.evil.example", "evil", "192.0.2.1", "0.0.0.0:4000"} {
		for _, path := range []string{"/", "/dev/messages", "/dev/assets/live.js", "/dev/events", wire.HealthPath, "/api/nothing"} {
			got := s.do(http.MethodGet, path, nil, "Host", host, "Sec-Fetch-Site", "same-origin")
			assert.Equal(t, 421, got.status, "%s %s", host, path)
			assert.Contains(t, got.body, "--allow-host "+hostname(host))
			assert.NotContains(t, got.body, "orders")
		}
		got := s.do(http.MethodPost, wire.MessagePath, url.Values{"topic": {"orders"}}, "Host", host, "Origin", "http://"+host)
		assert.Equal(t, 421, got.status, host)
	}
	for _, host := range []string{"localhost:4000", "LOCALHOST", "localhost.", "dev.localhost", "127.0.0.1", "127.8.9.1:1", "[::1]:80"} {
		assert.Equal(t, 200, s.do(http.MethodGet, "/", nil, "Host", host).status, host)
		assert.Equal(t, 200, s.do(http.MethodGet, wire.HealthPath, nil, "Host", host).status, host)
	}
	assert.Contains(t, s.get("/"), "No messages.")
}

// TestHostileName checks that a long host name is cut and shown as text.
func TestHostileName(t *testing.T) {
	s := start(t, Options{})
	name := strings.Repeat("x", 1000) + ".test"
	for path, kind := range map[string]string{"/": "text/plain; charset=utf-8", "/api/health": "application/json; charset=utf-8"} {
		got := s.do(http.MethodGet, path, nil, "Host", name)
		assert.Equal(t, 421, got.status)
		assert.Equal(t, kind, got.header.Get("Content-Type"))
		assert.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		assert.Less(t, len(got.body), 500)
	}
}

func TestNamesOfTheServer(t *testing.T) {
	machine, err := os.Hostname()
	require.NoError(t, err)
	for _, test := range []struct {
		addr      string
		allow     []string
		yes, no   []string
		everybody bool
	}{
		{"127.0.0.1:4000", nil, []string{"", "localhost", "[::1]"}, []string{"postoffice", "10.0.0.1", machine + ".test"}, false},
		{"[::1]:0", []string{"Dev.Test", "box"}, []string{"dev.test", "DEV.TEST.", "box"}, []string{"other.dev.test", "dev"}, false},
		{":4000", nil, []string{"localhost", "10.0.0.1", "[fe80::1]", "postoffice", machine}, []string{"postoffice.test", "evil.example"}, true},
		{"0.0.0.0:4000", []string{"host.docker.internal"}, []string{"host.docker.internal", "172.17.0.2"}, []string{"internal.docker.host"}, true},
		{"[::]:4000", nil, []string{"10.0.0.1"}, []string{"a.b"}, true},
		{"dev.test:4000", nil, []string{"dev.test"}, []string{"test.dev"}, true},
		{"192.168.1.2:4000", nil, []string{"192.168.1.2", "box"}, []string{"a.b"}, true},
	} {
		o, err := Options{Addr: test.addr, AllowHosts: test.allow}.withDefaults()
		require.NoError(t, err)
		g := newGuard(o)
		assert.Equal(t, !test.everybody, g.loopback, test.addr)
		for _, host := range test.yes {
			assert.True(t, g.knows(host), "%s: %s", test.addr, host)
		}
		for _, host := range test.no {
			assert.False(t, g.knows(host), "%s: %s", test.addr, host)
		}
	}
}

func TestAllowHosts(t *testing.T) {
	s := start(t, Options{AllowHosts: []string{"host.docker.internal"}})
	assert.Equal(t, 200, s.do(http.MethodGet, wire.HealthPath, nil, "Host", "host.docker.internal:4000").status)
	assert.Equal(t, 200, s.do(http.MethodGet, "/", nil, "Host", "host.docker.internal:4000").status)
	for _, name := range []string{"", "a:4000", "http://a", "a/b", "*", "a b", "u@a"} {
		_, err := Options{AllowHosts: []string{name}}.withDefaults()
		assert.ErrorIs(t, err, ErrOptions, "%q", name)
	}
	_, err := Options{AllowHosts: []string{"::1", "[::1]", "10.0.0.1", "a.b-c"}}.withDefaults()
	assert.NoError(t, err)
}
