package postofficetest_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// TestExpect sends requests of all shapes over one connection, in one piece
// and byte by byte. What looks like a header in a body stays what it is.
func TestExpect(t *testing.T) {
	const head = "POST /api/messages HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
	const text = "{\"topic\":\"orders\",\r\nExpect: y\r\n\"payload\":{},\"attributes\":{}}" // no JSON
	const health = "GET /api/health HTTP/1.1\r\nHost: h\r\nexpect:x\r\n\r\n"
	requests := []struct {
		text   string
		status int
		body   string
		expect []string
	}{
		{head + "Expect: x\r\nContent-Length: 60\r\n\r\n" + text, 400, text, []string{"x"}},
		{"\r\n" + health, 200, "", []string{"x"}}, // an empty line more after a body is common
		{health, 200, "", []string{"x"}},
		{head + "Transfer-Encoding: chunked\r\nEXPECT: one\r\nExpect: two\r\n\r\n1e;a=b\r\n" + text[:30] + "\r\n1e\r\n" + text[30:] + "\r\n0\r\nTrailer: x\r\n\r\n", 400, text, []string{"one", "two"}},
		{strings.ReplaceAll(health, "\r\n", "\n"), 200, "", []string{"x"}},
		{head + "Content-Length: 0\r\n\r\n", 500, "", nil},
		{strings.Replace(health, "expect:x", "Expect: 100-continue", 1), 200, "", []string{"100-continue"}},
		{strings.Replace(health, "expect:x", "Expectation: x", 1), 200, "", nil},
	}
	var all strings.Builder
	for _, request := range requests {
		all.WriteString(request.text)
	}
	for name, reader := range map[string]io.Reader{
		"in one piece": strings.NewReader(all.String()), "byte by byte": iotest.OneByteReader(strings.NewReader(all.String())),
	} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t)
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(server.URL(), "http://"))
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			go func() {
				buffer := make([]byte, 1<<16)
				for {
					n, err := reader.Read(buffer)
					if err != nil {
						return
					}
					if _, err := conn.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
			answers := bufio.NewReader(conn)
			for i, request := range requests {
				response, err := http.ReadResponse(answers, nil)
				require.NoError(t, err, "answer %d", i)
				_, err = io.Copy(io.Discard, response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				assert.Equal(t, request.status, response.StatusCode, "answer %d", i)
				got := server.Requests()[i]
				assert.Equal(t, request.body, string(got.Body), "body %d", i)
				assert.Equal(t, request.expect, got.Header["Expect"], "header %d", i)
				assert.NotContains(t, got.Header, "Postofficetest-Expect")
			}
		})
	}
}

// TestExpectMessage is accepted, as on the real server.
func TestExpectMessage(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	for _, expect := range []string{"x", "100-continue", ""} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+"/api/messages", strings.NewReader(message("orders", `{}`)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Expect", expect)
		response, err := newClient(t).Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, 201, response.StatusCode, "%q", expect)
	}
}
