package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// terminal is a pseudo-terminal: what a person would see is in screen, and
// what they would type is written to master.
type terminal struct {
	master, slave *os.File
	screen        *lockedBuffer
}

// openTerminal opens a pseudo-terminal.
func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	unlock, number := int32(0), uint32(0)
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	terminal := &terminal{master: master, slave: slave, screen: &lockedBuffer{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		// It ends with an error when nobody has the other end any more.
		_, _ = io.Copy(terminal.screen, master)
	}()
	t.Cleanup(func() {
		terminal.hangUp()
		<-read
		require.NoError(t, master.Close())
	})
	return terminal
}

func ioctl(t *testing.T, file *os.File, request uintptr, argument unsafe.Pointer) {
	t.Helper()
	raw, err := file.SyscallConn()
	require.NoError(t, err)
	var failed syscall.Errno
	require.NoError(t, raw.Control(func(fd uintptr) {
		_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument))
	}))
	require.Zero(t, failed)
}

// hangUp closes this process's copy of the child's end.
func (t *terminal) hangUp() {
	if err := t.slave.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		panic(err)
	}
}

// shows waits until something is on the screen.
func (t *terminal) shows(test *testing.T, text string) {
	test.Helper()
	require.Eventually(test, func() bool { return strings.Contains(t.screen.String(), text) }, patience, poll, "%s", text)
}

// TestProgressBar draws a bar on a terminal, and none elsewhere.
func TestProgressBar(t *testing.T) {
	server := office(t)
	file := textFile(t, strings.Replace(numbered(20_000), "{\"n\":11000}", "no", 1))
	publish := func(arguments ...string) (string, result) {
		screen := openTerminal(t)
		c := prepare(t, nil, append([]string{"publish", "orders", "--file", file, "--skip-invalid", "--json", "--bulk-limit", "100", "--url", server.URL()}, arguments...)...)
		c.command.Stderr = screen.slave
		var got publishResult
		r := c.start().wait().is(exit.Partly).decode(&got)
		assert.Equal(t, 19_999, got.Accepted)
		screen.shows(t, "1 invalid line skipped")
		return screen.screen.String(), r
	}
	text, _ := publish()
	assert.Regexp(t, `\d+ accepted, [1-9]\d* messages/s +\d+% \|`, text)
	assert.NotRegexp(t, `[kM]?B/s`, text)
	assert.Regexp(t, `\r *\rpostoffice: .*file: line 11000 is not valid JSON at byte 2; skipped`, text, "the line has a line of its own")

	text, _ = publish("--no-progress")
	assert.NotContains(t, text, "%")
	assert.NotContains(t, text, "\r ")
}

// TestConfirm asks at a terminal.
func TestConfirm(t *testing.T) {
	records := letters(50)
	flags := stands[0].make(t, records)
	discard := func(then func(screen *terminal, c *child), arguments ...string) result {
		screen := openTerminal(t)
		c := prepare(t, nil, append(append([]string{"outbox", "discard"}, arguments...), flags...)...)
		c.command.Stdin, c.command.Stderr = screen.slave, screen.slave
		c.start()
		screen.shows(t, "[y/N]")
		then(screen, c)
		r := c.wait()
		r.stderr = screen.screen.String()
		return r
	}
	answer := func(text string) func(*terminal, *child) {
		return func(screen *terminal, _ *child) {
			_, err := io.WriteString(screen.master, text)
			require.NoError(t, err)
		}
	}
	for _, text := range []string{"n\n", "\n", "yeah\n", "\x04"} {
		r := discard(answer(text), "--all").is(exit.Failed)
		assert.Contains(t, r.stderr, "Discard all 50 messages without delivering?")
		assert.Empty(t, r.stdout)
	}
	r := discard(func(_ *terminal, c *child) { require.NoError(t, c.command.Process.Signal(os.Interrupt)) }, "--all").is(exit.Interrupted)
	assert.Empty(t, r.stdout)

	assert.Equal(t, "1 message discarded\n", discard(answer("y\n"), records[0].ID).is(exit.OK).stdout)
	r = discard(answer("YES\n"), "--topic", "refunds", "--state", outbox.Dead.String()).is(exit.OK)
	assert.Equal(t, "5 messages discarded\n", r.stdout)
	assert.Contains(t, r.stderr, `Discard all 5 dead messages of the topic "refunds" without`)
	r = discard(answer("y\n"), records[0].ID, records[1].ID).is(exit.Partly)
	assert.Contains(t, r.stderr, "Discard 1 message without")

	// Nobody is asked about a missing message.
	screen := openTerminal(t)
	c := prepare(t, nil, append([]string{"outbox", "discard", "--topic", "refunds", "--state", "dead"}, flags...)...)
	c.command.Stdin, c.command.Stderr = screen.slave, screen.slave
	assert.Equal(t, "0 messages discarded\n", c.start().wait().is(exit.OK).stdout)
	assert.NotContains(t, screen.screen.String(), "[y/N]")
}

// TestTypedMessages takes messages that a person types.
func TestTypedMessages(t *testing.T) {
	server := office(t)
	screen := openTerminal(t)
	c := prepare(t, nil, "publish", "orders", "--url", server.URL())
	c.command.Stdin, c.command.Stderr = screen.slave, screen.slave
	c.start()
	screen.shows(t, "end with Ctrl-D")
	_, err := io.WriteString(screen.master, "{\"n\":1}\n")
	require.NoError(t, err)
	require.NoError(t, server.WaitForMessages(patiently(t), "orders", 1))
	_, err = io.WriteString(screen.master, "\x04")
	require.NoError(t, err)
	assert.Equal(t, "1 message accepted\n", c.wait().is(exit.OK).stdout)
	assert.NotContains(t, screen.screen.String(), "%")
}
