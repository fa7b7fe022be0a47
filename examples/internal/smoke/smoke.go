// Package smoke contains the tests of all example apps.
package smoke

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// Test runs the program and sends it real requests.
func Test(t *testing.T, run Program) {
	t.Helper()
	t.Run("Publishes", run.publishes)
	t.Run("StartsFakeServer", run.startsFakeServer)
	t.Run("SurvivesOutage", run.survivesOutage)
	t.Run("RefusesBadSettings", run.refusesBadSettings)
}

// Program is an example's run function: it serves until the context ends, and prints
// its address.
type Program func(ctx context.Context, args []string, stdout io.Writer) error

// process is a running program.
type process struct {
	before string // its output before its address
	url    string
	stop   func() error
}

// start runs the program until it listens.
func (run Program) start(t *testing.T, args ...string) process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), stdout)
		_ = stdout.Close()
		ended <- err
	}()
	p := process{stop: func() error {
		cancel()
		return <-ended
	}}
	t.Cleanup(cancel)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if url, found := strings.CutPrefix(lines.Text(), "listening on "); found {
			p.url = url
			return p
		}
		p.before += lines.Text()
	}
	require.NoError(t, <-ended)
	require.Fail(t, "the program has ended", p.before)
	return p
}

// order posts an order and returns the status and the body of the answer.
func (p process) order(t *testing.T, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/orders", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// environment sets the variables of the program.
func environment(t *testing.T, url, originHost string) {
	t.Helper()
	for name, value := range map[string]string{
		"POSTOFFICE_URL":         url,
		"POSTOFFICE_ORIGIN_HOST": originHost,
		"POSTOFFICE_TIMEOUT":     "20s", // for a loaded machine
		"POSTOFFICE_SETTINGS":    "",
		"POSTOFFICE_TOPICS":      "",
		"POSTOFFICE_CONSUMERS":   "",
	} {
		t.Setenv(name, value)
	}
}

func (run Program) publishes(t *testing.T) {
	server := postofficetest.Start(t)
	environment(t, server.URL(), "http://user:secret@origin.test")
	p := run.start(t)
	assert.Empty(t, p.before)
	status, body := p.order(t, `{"number": 7}`)
	assert.Equal(t, http.StatusAccepted, status)
	assert.Equal(t, "order 7 is delivered\n", body)
	status, _ = p.order(t, `[]`)
	assert.Equal(t, http.StatusBadRequest, status)
	require.NoError(t, p.stop())
	messages := server.MessagesOf("orders")
	require.Len(t, messages, 1)
	assert.JSONEq(t, `{"number":7}`, string(messages[0].Payload))
}

func (run Program) startsFakeServer(t *testing.T) {
	environment(t, "", "")
	p := run.start(t)
	assert.Contains(t, p.before, "fake server at http://127.0.0.1:")
	_, body := p.order(t, `{"number": 7}`)
	assert.Equal(t, "order 7 is delivered\n", body)
	require.NoError(t, p.stop())
}

// survivesOutage publishes while the server is down, and expects the delivery when
// the program runs again.
func (run Program) survivesOutage(t *testing.T) {
	server := postofficetest.Start(t)
	server.Stop()
	environment(t, server.URL(), "http://user:secret@origin.test")
	file := filepath.Join(t.TempDir(), "outbox.db")
	p := run.start(t, "-outbox", file)
	_, body := p.order(t, `{"number": 7}`)
	assert.Equal(t, "order 7 is stored\n", body)
	require.NoError(t, p.stop())

	store, err := sqlite.Open(t.Context(), file)
	require.NoError(t, err)
	stats, err := store.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, stats.Pending)
	require.NoError(t, store.Close())

	require.NoError(t, server.Restart())
	p = run.start(t, "-outbox", file)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a loaded machine
	defer cancel()
	require.NoError(t, server.WaitForMessages(ctx, "orders", 1))
	require.NoError(t, p.stop())
}

func (run Program) refusesBadSettings(t *testing.T) {
	environment(t, "ftp://postoffice.test", "")
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0"}, io.Discard)
	assert.ErrorContains(t, err, "URL")
	assert.ErrorContains(t, err, "OriginHost")
	assert.Error(t, run(t.Context(), []string{"-addr", "nowhere"}, io.Discard))
}
