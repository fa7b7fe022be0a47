//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// pipe makes stdin a pipe and returns its other end.
func (c *child) pipe() io.WriteCloser {
	c.t.Helper()
	input, err := c.command.StdinPipe()
	require.NoError(c.t, err)
	return input
}

// feed writes lines until the process is gone, or they have all been written.
// It returns a channel that is closed then.
func feed(input io.WriteCloser, n int) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = input.Close() }()
		buffer := bufio.NewWriter(input)
		for i := range n {
			if _, err := fmt.Fprintf(buffer, "{\"n\":%d}\n", i+1); err != nil {
				return
			}
		}
		_ = buffer.Flush() // the process may be gone
	}()
	return done
}

// TestInterruptInBulk interrupts a bulk of 100,000 lines: what is told to be
// accepted is what the server has.
func TestInterruptInBulk(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sent.String(), func(t *testing.T) {
			server := office(t)
			c := prepare(t, nil, "publish", "orders", "--json", "--bulk-limit", "100", "--url", server.URL())
			input := c.pipe()
			c.start()
			done := feed(input, 100_000)
			require.NoError(t, server.WaitForMessages(patiently(t), "orders", 5000))
			require.NoError(t, c.command.Process.Signal(sent))
			var got publishResult
			r := c.wait().is(128+int(sent)).says("interrupted", "tail -n +").decode(&got)
			<-done
			assert.True(t, got.Interrupted)
			assert.GreaterOrEqual(t, got.Accepted, 5000)
			assert.Less(t, got.Accepted, 100_000)
			assert.Len(t, server.Messages(), got.Accepted)
			assert.Equal(t, got.Accepted+1, got.NextLine)
			assert.Contains(t, r.stderr, fmt.Sprintf("%d messages accepted", got.Accepted))
			assert.Equal(t, strings.Fields(numbered(got.Accepted)), payloads(server))
		})
	}
}

// TestInterruptWithOutbox interrupts a bulk while the server has long stopped
// to answer: all that was accepted is at the server or in the outbox.
func TestInterruptWithOutbox(t *testing.T) {
	server := office(t)
	path := t.TempDir() + "/outbox.db"
	c := prepare(t, nil, "publish", "orders", "--json", "--bulk-limit", "100", "--bulk-timeout", "500ms", "--url", server.URL(), "--outbox", path)
	input := c.pipe()
	c.start()
	done := feed(input, 100_000)
	require.NoError(t, server.WaitForMessages(patiently(t), "orders", 1000))
	server.Hang()
	require.Eventually(t, func() bool { return fileSize(path+"-wal")+fileSize(path) > 500_000 }, patience, poll, "messages are stored")
	require.NoError(t, c.command.Process.Signal(os.Interrupt))
	var got publishResult
	c.wait().is(exit.Interrupted).decode(&got)
	<-done
	require.NotZero(t, got.Stored)
	assert.Equal(t, got.Accepted, got.Delivered+got.Stored)
	assert.Zero(t, got.NotAccepted)
	var count countResult
	run(t, "outbox", "count", "--json", "--outbox", path).is(exit.OK).decode(&count)
	assert.Equal(t, got.Stored, count.Pending)
	server.Resume()
	run(t, "outbox", "deliver", "--outbox", path, "--url", server.URL()).is(exit.OK)
	assert.Subset(t, payloads(server), strings.Fields(numbered(got.Accepted)))
}

// TestInterruptInFlight interrupts while the server does not answer: what was
// under way is not told to be accepted, and what is, the server has.
func TestInterruptInFlight(t *testing.T) {
	server := office(t)
	var requests atomic.Int32
	server.FailWhen(func(*http.Request, []byte) (int, bool) {
		if requests.Add(1) == 3 {
			server.Hang()
		}
		return 0, false
	})
	c := prepare(t, nil, "publish", "orders", "--json", "--bulk-limit", "100", "--bulk-timeout", "1s", "--url", server.URL())
	input := c.pipe()
	c.start()
	done := feed(input, 100_000)
	require.NoError(t, server.Wait(patiently(t), func() bool { return len(server.Requests()) >= 4 }))
	require.NoError(t, c.command.Process.Signal(os.Interrupt))
	var got publishResult
	c.wait().is(exit.Interrupted).decode(&got)
	<-done
	assert.Equal(t, 300, got.Accepted)
	assert.Equal(t, []string{"301-400"}, got.NotAcceptedLines)
	assert.Equal(t, 401, got.NextLine)
	assert.Len(t, server.Messages(), 300)
}

// TestInterruptTwice ends a publish at once that waits for the server.
func TestInterruptTwice(t *testing.T) {
	server := office(t)
	server.Hang()
	c := prepare(t, nil, "publish", "orders", `{}`, "--timeout", "10m", "--url", server.URL()).start()
	require.NoError(t, server.Wait(patiently(t), func() bool { return len(server.Requests()) == 1 }))
	// The first one is taken note of at some moment; those after it end it.
	require.Eventually(t, func() bool {
		_ = c.command.Process.Signal(os.Interrupt) // it may be gone
		return hasEnded(c.command.Process.Pid)
	}, patience, poll)
	r := c.wait()
	assert.Equal(t, -1, r.code)
}

// TestInterruptWhileReading interrupts while nothing comes from stdin.
func TestInterruptWhileReading(t *testing.T) {
	server := office(t)
	for _, arguments := range [][]string{{}, {"--single"}} {
		c := prepare(t, nil, append([]string{"publish", "orders", "--url", server.URL()}, arguments...)...)
		input := c.pipe()
		c.start()
		// That is more than a pipe holds: when it is written, it is being read.
		_, err := io.WriteString(input, "{}\n"+strings.Repeat("\n", 1<<20))
		require.NoError(t, err)
		if len(arguments) == 0 {
			// A line does not wait for others for long.
			require.NoError(t, server.WaitForMessages(patiently(t), "orders", 1))
		}
		require.NoError(t, c.command.Process.Signal(os.Interrupt))
		c.wait().is(exit.Interrupted).says("interrupted")
	}
	assert.Len(t, server.Messages(), 1)
}

// TestStdinClosed runs without any stdin.
func TestStdinClosed(t *testing.T) {
	server := office(t)
	c := prepare(t, nil, "-c", `exec "$0" publish orders --url "$1" <&-`, binary, server.URL())
	c.command.Path, c.command.Args[0] = "/bin/sh", "sh"
	c.start().wait().is(exit.OK).says("input was empty")
	c = prepare(t, nil, "publish", "orders", "--url", server.URL())
	require.NoError(t, c.pipe().Close())
	c.start().wait()
}

// closedPipe returns the writing end of a pipe that nobody reads.
func closedPipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	t.Cleanup(func() { _ = writer.Close() })
	return writer
}

// TestClosedOutput has nobody read the output: nothing breaks off.
func TestClosedOutput(t *testing.T) {
	server := office(t)
	c := prepare(t, nil, "publish", "orders", "--skip-invalid", "--bulk-limit", "10", "--url", server.URL())
	c.command.Stdin = strings.NewReader("no\n" + numbered(100) + "no\n" + numbered(100))
	c.command.Stdout, c.command.Stderr = closedPipe(t), closedPipe(t)
	c.start().wait().is(exit.Partly)
	assert.Len(t, server.Messages(), 200)

	c = prepare(t, nil, "publish", "orders", "--url", server.URL())
	c.command.Stdin = strings.NewReader(numbered(100))
	c.command.Stdout = closedPipe(t)
	r := c.start().wait().is(exit.ClosedPipe)
	assert.Empty(t, r.stderr)
	assert.Len(t, server.Messages(), 300)
}

// TestFullOutput has the output go to a full disk.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer func() { require.NoError(t, full.Close()) }()
	c := prepare(t, nil, "version")
	c.command.Stdout = full
	c.start().wait().is(exit.Failed).says("result cannot be written")
}
