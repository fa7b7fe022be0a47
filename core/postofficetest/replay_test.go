package postofficetest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// exchange is one recorded request and its answer.
type exchange struct {
	Name    string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         *string
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    any
	}
}

// notReplayed names the exchanges that cannot be replayed, and why.
var notReplayed = map[string]string{
	"bad percent path": "net/http answers such a request line itself, with 400",
}

// TestReplay lets the server answer the recorded requests.
func TestReplay(t *testing.T) {
	raw, err := os.ReadFile("testdata/exchanges.json")
	require.NoError(t, err)
	var exchanges []exchange
	require.NoError(t, json.Unmarshal(raw, &exchanges))
	require.Len(t, exchanges, 284)

	server := postofficetest.Start(t)
	prepare(t, server)
	client := newClient(t)
	skipped := 0
	for _, recorded := range exchanges {
		if reason, found := notReplayed[recorded.Name]; found {
			t.Logf("%s: %s", recorded.Name, reason)
			skipped++
			continue
		}
		t.Run(recorded.Name, func(t *testing.T) { replay(t, server, client, recorded) })
	}
	assert.Equal(t, len(notReplayed), skipped, "the table names an exchange that is not there")
}

// prepare sets up the topics and consumers that the recording presumes. The
// job ids it makes are not compared.
func prepare(t *testing.T, server *postofficetest.Server) {
	t.Helper()
	consumers := map[string]int{
		"pub-26773": 0, "m0-26830": 0, "m1-26830": 1, "m2-26830": 2, "b0-26905": 0, "b1-26905": 1, "b2-26905": 2,
		"big1-26938": 1, "big2-26938": 2, "big3-26938": 3, "big4-26938": 4,
	}
	for name, count := range consumers {
		addTopic(t, server, name)
		for i := range count {
			// Paused, so that nothing goes out to the recorded targets.
			_, err := server.AddConsumer(postofficetest.Consumer{Topic: name, Target: strconv.Itoa(i), Paused: true})
			require.NoError(t, err)
		}
	}
	addTopic(t, server, "mp-26830")
	addTopic(t, server, "bp-26905")
	for _, consumer := range []postofficetest.Consumer{
		{Topic: "mp-26830", Target: "gcp", Type: postofficetest.TypePubSub},
		{Topic: "bp-26905", Target: "gcp", Type: postofficetest.TypePubSub},
		{Topic: "bp-26905", Target: "gcp2", Type: postofficetest.TypePubSub, ChunkSize: 2},
	} {
		_, err := server.AddConsumer(consumer)
		require.NoError(t, err)
	}
}

// replay sends one request and compares the answer.
func replay(t *testing.T, server *postofficetest.Server, client *http.Client, recorded exchange) {
	t.Helper()
	path := livePath(t, server, recorded)
	body := liveBody(t, recorded)
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	if recorded.Name == "message chunked request" {
		plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
		require.NoError(t, err)
		reader = io.MultiReader(bytes.NewReader(plain)) // of unknown length, so that it is sent in chunks
	}
	request, err := http.NewRequestWithContext(t.Context(), recorded.Request.Method, server.URL()+path, reader)
	require.NoError(t, err)
	for key, value := range recorded.Request.Headers {
		request.Header.Set(key, value)
	}
	addHeaders(request, recorded.Name)

	response, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	require.Equal(t, recorded.Response.Status, response.StatusCode, string(answer))
	for _, header := range []string{"content-type", "server", "cache-control"} {
		assert.Equal(t, recorded.Response.Headers[header], response.Header.Get(header), header)
	}
	if recorded.Response.Body == "" {
		assert.Empty(t, answer)
		return
	}
	var got any
	require.NoError(t, json.Unmarshal(answer, &got), string(answer))
	checkDescending(t, got)
	assert.Equal(t, withoutIDs(recorded.Response.Body), withoutIDs(got))
}

// livePath gives the path with what the recording cut off, and the ids of
// consumers that exist here.
func livePath(t *testing.T, server *postofficetest.Server, recorded exchange) string {
	t.Helper()
	path := recorded.Request.Path
	if cut := regexp.MustCompile(`\?x+\.\.\.\((\d+) chars\)$`).FindStringSubmatch(path); cut != nil {
		length, err := strconv.Atoi(cut[1])
		require.NoError(t, err)
		prefix, _, _ := strings.Cut(path, "?")
		return prefix + "?" + strings.Repeat("x", length-len(prefix)-1)
	}
	// The recorded ids belong to the consumers with these targets.
	for id, target := range map[string]string{
		"/25": "http://127.0.0.1:5055/sink/26773/13",
		"/21": "http://127.0.0.1:5055/sink/26773/9",
	} {
		if prefix, suffix, found := strings.Cut(path, "/api/publishers"+id); found && prefix == "" && strings.Trim(suffix, "/") == "" {
			return fmt.Sprintf("/api/publishers/%d%s", idOf(t, server, target), suffix)
		}
	}
	return path
}

// idOf finds the consumer with the target.
func idOf(t *testing.T, server *postofficetest.Server, target string) int64 {
	t.Helper()
	for _, consumer := range server.Consumers() {
		if consumer.Target == target {
			return consumer.ID
		}
	}
	require.Fail(t, "no consumer", target)
	return 0
}

// liveBody gives the body with what the recording cut off; nil for none.
func liveBody(t *testing.T, recorded exchange) []byte {
	t.Helper()
	if recorded.Request.Body == nil {
		return nil
	}
	text := *recorded.Request.Body
	if digits, found := strings.CutPrefix(text, "base16:"); found {
		body, err := hex.DecodeString(digits)
		require.NoError(t, err)
		return body
	}
	cut := regexp.MustCompile(`^<(\d+) bytes: `).FindStringSubmatch(text)
	if cut == nil {
		return []byte(text)
	}
	size, err := strconv.Atoi(cut[1])
	require.NoError(t, err)
	const filled = `{"a": "b"}`
	var body string
	start := strings.TrimPrefix(text, cut[0])
	prefix := start[:strings.IndexByte(start, '[')+1]
	switch name := recorded.Name; {
	case strings.HasPrefix(name, "message body"):
		prefix = start[:strings.Index(start, "xxx")]
		body = prefix + strings.Repeat("x", size-len(prefix)-len(`"}}`)) + `"}}`
	case name == "bulk unknown topic and over max":
		body = bulkBody(prefix, 3001, filled, func(int) string { return "{}" })
	case strings.HasPrefix(name, "bulk exactly 3000 "):
		body = bulkBody(prefix, 3000, filled, func(int) string { return `{"k": 1}` })
	case strings.HasPrefix(name, "bulk 3001 "):
		body = bulkBody(prefix, 3001, filled, func(int) string { return `{"k": 1}` })
	case strings.HasPrefix(name, "bulk 3000 payloads"):
		body = bulkBody(prefix, 3000, "{}", func(i int) string { return fmt.Sprintf(`{"i": %d}`, i) })
	}
	if len(body) != size {
		require.Failf(t, "the body cannot be rebuilt", "%d of %d bytes", len(body), size)
	}
	return []byte(body)
}

// bulkBody makes a bulk of so many payloads.
func bulkBody(prefix string, count int, attributes string, payload func(i int) string) string {
	payloads := make([]string, count)
	for i := range payloads {
		payloads[i] = payload(i)
	}
	return prefix + strings.Join(payloads, ", ") + `], "attributes": ` + attributes + "}"
}

// addHeaders adds what the recording tells by the name alone.
func addHeaders(request *http.Request, name string) {
	switch name {
	case "message accept-encoding gzip":
		request.Header.Set("Accept-Encoding", "gzip")
	case "message Expect 100-continue":
		request.Header.Set("Expect", "100-continue")
	case "message header value 4096":
		request.Header.Set("X-Long", strings.Repeat("x", 4096))
	case "message header value 4097":
		request.Header.Set("X-Long", strings.Repeat("x", 4097))
	case "message 101 headers":
		for i := range 101 {
			request.Header.Set("X-Header-"+strconv.Itoa(i), "x")
		}
	}
}

// checkDescending checks that job ids come newest first.
func checkDescending(t *testing.T, answer any) {
	t.Helper()
	object, _ := answer.(map[string]any)
	for _, key := range []string{"id", "result"} {
		ids, _ := object[key].([]any)
		for i := 1; i < len(ids); i++ {
			require.Equal(t, int64(ids[i-1].(float64))-1, int64(ids[i].(float64)), "ids in %q", key)
		}
	}
}

// withoutIDs replaces ids by their number, also where the recording cut them.
func withoutIDs(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	masked := make(map[string]any, len(object))
	for key, value := range object {
		switch value := value.(type) {
		case []any:
			if key == "id" || key == "result" {
				masked[key] = len(value)
				continue
			}
			masked[key] = value
		case float64:
			if key == "id" {
				masked[key] = "an id"
				continue
			}
			masked[key] = value
		case string:
			if cut := regexp.MustCompile(`^\[(\d+) ids, descending`).FindStringSubmatch(value); cut != nil {
				masked[key], _ = strconv.Atoi(cut[1])
				continue
			}
			masked[key] = value
		default:
			masked[key] = withoutIDs(value)
		}
	}
	return masked
}
