package devpage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(runner{testbrowser.Runner{M: m}}) }

// runner removes the program after the tests.
type runner struct{ tests testbrowser.Runner }

func (r runner) Run() int {
	defer func() { _ = os.RemoveAll(directory) }()
	return r.tests.Run()
}

// directory contains the program after the first test that needs it.
var directory string

// program builds the command line from the sources of this checkout and returns
// its path.
var program = sync.OnceValues(func() (string, error) {
	var err error
	if directory, err = os.MkdirTemp("", "postoffice-devpage-"); err != nil {
		return "", err
	}
	path := filepath.Join(directory, "postoffice")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-o", path, "./core/cmd/postoffice")
	build.Dir = filepath.Join("..", "..", "..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, output)
	}
	return path, nil
})

// patience is the timeout of conditions.
const patience = 30 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, message)
}

// running is a development server in a process of its own.
type running struct {
	t   *testing.T
	url string
	// client follows no redirects.
	client *http.Client
}

// start runs a server until the test ends.
func start(t *testing.T) *running {
	t.Helper()
	testbrowser.Need(t)
	path, err := program()
	require.NoError(t, err)
	// Not the context of the test, which ends before the tabs of the test are closed.
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, path, "dev", "--json", "--addr", "127.0.0.1:0")
	command.Env = []string{"HOME=" + t.TempDir(), "TZ=" + os.Getenv("TZ")}
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = patience
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, ended(command.Wait()), problems.String())
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	require.NoError(t, err)
	var said struct{ URL string }
	require.NoError(t, json.Unmarshal(line, &said))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &running{t: t, url: said.URL, client: &http.Client{
		Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ended ignores the error of a process that exited because its context was canceled.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// reply is a response with its body.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request with a body and its content type.
func (r *running) do(method, path, contentType, body string) reply {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	request.Header.Set("Content-Type", contentType)
	response, err := r.client.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return reply{response.StatusCode, response.Header, string(text)}
}

// get reads a page, which must exist.
func (r *running) get(path string) string {
	r.t.Helper()
	got := r.do(http.MethodGet, path, "", "")
	require.Equal(r.t, http.StatusOK, got.status, got.body)
	return got.body
}

// post sends a form and returns the redirect's location.
func (r *running) post(path string, fields url.Values) string {
	r.t.Helper()
	got := r.do(http.MethodPost, path, "application/x-www-form-urlencoded", fields.Encode())
	require.Equal(r.t, http.StatusSeeOther, got.status, got.body)
	return got.header.Get("Location")
}

// accept calls the API, which must respond with 201.
func (r *running) accept(path, body string) {
	r.t.Helper()
	got := r.do(http.MethodPost, path, "application/json", body)
	require.Equal(r.t, http.StatusCreated, got.status, got.body)
}

func (r *running) addTopic(name string, targets ...string) {
	r.t.Helper()
	r.accept(wire.TopicsPath, fmt.Sprintf(`{"name":%q,"origin_host":"http://127.0.0.1:9/none/","recovery_enabled":false}`, name))
	for _, target := range targets {
		r.accept(wire.ConsumersPath, fmt.Sprintf(`{"topic":%q,"target":%q,"type":"http","active":true}`, name, target))
	}
}

func (r *running) addTopicNamed(quoted string) {
	r.accept(wire.TopicsPath, `{"name":"`+quoted+`","origin_host":"http://127.0.0.1:9/<b>"}`)
}

func (r *running) publish(topic, payload string) {
	r.t.Helper()
	r.accept(wire.MessagePath, fmt.Sprintf(`{"topic":%q,"payload":%s,"attributes":{"kind":"new"}}`, topic, payload))
}
