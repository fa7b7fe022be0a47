package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// patience is how long a test waits for what should happen soon: long, for
// machines that have much else to do.
const patience = time.Minute

// patiently is a context that ends after that.
func patiently(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// poll is how often a test looks whether something has happened.
const poll = 5 * time.Millisecond

// secret is the password in URLs of tests. No output may show it.
const secret = "swordfish"

// child is the program in a process of its own.
type child struct {
	t              *testing.T
	command        *exec.Cmd
	stdout, stderr *lockedBuffer
	waited         sync.Once
}

// lockedBuffer is a buffer that one goroutine writes and another reads.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// prepare makes a process that has nothing in its environment but what is
// given as NAME=VALUE, and no input.
func prepare(t *testing.T, environment []string, arguments ...string) *child {
	t.Helper()
	c := &child{
		t: t, command: exec.CommandContext(t.Context(), binary, arguments...),
		stdout: &lockedBuffer{}, stderr: &lockedBuffer{},
	}
	c.command.Env = append([]string{"HOME=" + t.TempDir()}, environment...)
	c.command.Stdout, c.command.Stderr = c.stdout, c.stderr
	// A writer to stdin must not keep wait from returning.
	c.command.WaitDelay = 5 * time.Second
	return c
}

// start starts the process. It is killed when the test ends.
func (c *child) start() *child {
	c.t.Helper()
	require.NoError(c.t, c.command.Start())
	c.t.Cleanup(func() {
		c.waited.Do(func() {
			_ = c.command.Process.Kill()
			_ = c.command.Wait()
		})
	})
	return c
}

// wait waits for the end and returns what came of it.
func (c *child) wait() result {
	c.t.Helper()
	c.waited.Do(func() {
		timer := time.AfterFunc(patience, func() { _ = c.command.Process.Kill() })
		defer timer.Stop()
		_ = c.command.Wait() // the code is looked at
	})
	r := result{t: c.t, code: c.command.ProcessState.ExitCode(), stdout: c.stdout.String(), stderr: c.stderr.String()}
	require.NotContains(c.t, r.stdout+r.stderr, secret)
	return r
}

// result is what came of a process. The code is -1 if a signal has ended it.
type result struct {
	t              *testing.T
	code           int
	stdout, stderr string
}

// is demands an exit code.
func (r result) is(code int) result {
	r.t.Helper()
	require.Equal(r.t, code, r.code, "stdout: %s\nstderr: %s", r.stdout, r.stderr)
	return r
}

// says demands texts on stderr.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		require.Contains(r.t, r.stderr, text)
	}
	return r
}

// decode reads the one JSON document that stdout must hold.
func (r result) decode(into any) result {
	r.t.Helper()
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	decoder.DisallowUnknownFields()
	require.NoError(r.t, decoder.Decode(into), "stdout: %s\nstderr: %s", r.stdout, r.stderr)
	_, err := decoder.Token()
	require.ErrorIs(r.t, err, io.EOF, "stdout: %s", r.stdout)
	require.Equal(r.t, 1, strings.Count(r.stdout, "\n"))
	return r
}

// run runs the program with no input.
func run(t *testing.T, arguments ...string) result {
	t.Helper()
	return prepare(t, nil, arguments...).start().wait()
}

// runWith runs the program with an input.
func runWith(t *testing.T, input string, arguments ...string) result {
	t.Helper()
	c := prepare(t, nil, arguments...)
	c.command.Stdin = strings.NewReader(input)
	return c.start().wait()
}

// office starts a server with a topic that has a consumer.
func office(t *testing.T, options ...postofficetest.Option) *postofficetest.Server {
	t.Helper()
	server := postofficetest.Start(t, options...)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "p", Type: postofficetest.TypePubSub})
	require.NoError(t, err)
	return server
}

// withPassword puts the secret into a URL.
func withPassword(address string) string {
	return strings.Replace(address, "://", "://user:"+secret+"@", 1)
}

// nowhere is the address of a server that is not there any more.
func nowhere(t *testing.T) string {
	t.Helper()
	server := postofficetest.NewServer()
	server.Close()
	return withPassword(server.URL())
}

// textFile writes a file.
func textFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// payloads returns what a server has received.
func payloads(server *postofficetest.Server) []string {
	texts := []string{}
	for _, message := range server.MessagesOf("orders") {
		texts = append(texts, string(message.Payload))
	}
	return texts
}
