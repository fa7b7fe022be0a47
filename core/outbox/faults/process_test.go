//go:build unix

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// patience is how long a test waits for what should happen soon: long, for
// machines that have much else to do.
const patience = time.Minute

// process is an app under test that runs.
type process struct {
	command *exec.Cmd
	input   io.WriteCloser
	read    chan struct{} // closed when all of its output was read
	ended   bool          // wait has returned

	mu       sync.Mutex
	accepted map[string]string    // ids, and the states of their receipts
	answered map[string]time.Time // when they were accepted
	refused  []string
	lines    map[string]string // the last of the other lines, by kind
	claims   int
	handled  map[string]int  // how often the app has handled a message
	posted   map[string]bool // in flight: posted, and not deleted
	missing  map[string]int  // how often a request got no answer
	together map[string]bool // in a request with others
}

// start runs an app. It is killed when the test ends.
func start(t *testing.T, a app) *process {
	t.Helper()
	if a.StopWithin == 0 {
		a.StopWithin = patience
	}
	text, err := json.Marshal(a)
	require.NoError(t, err)
	p := &process{
		command:  exec.Command(os.Args[0]),
		read:     make(chan struct{}),
		accepted: map[string]string{},
		answered: map[string]time.Time{},
		lines:    map[string]string{},
		handled:  map[string]int{},
		posted:   map[string]bool{},
		missing:  map[string]int{},
		together: map[string]bool{},
	}
	// With the race detector a process waits a second before it exits.
	p.command.Env = append(os.Environ(), appVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	p.command.Stderr = os.Stderr
	p.input, err = p.command.StdinPipe()
	require.NoError(t, err)
	output, err := p.command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.command.Start())
	go p.readAll(output)
	t.Cleanup(func() { p.kill() })
	return p
}

// readAll notes what the app writes. A line without an end was cut off by
// the end of the app, and counts for nothing.
func (p *process) readAll(output io.Reader) {
	defer close(p.read)
	reader := bufio.NewReader(output)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		kind, about, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		p.note(kind, about)
	}
}

func (p *process) note(kind, about string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch kind {
	case lineAccepted:
		state, rest, _ := strings.Cut(about, " ")
		id, at, _ := strings.Cut(rest, " ")
		p.accepted[id] = state
		if micros, err := strconv.ParseInt(at, 10, 64); err == nil {
			p.answered[id] = time.UnixMicro(micros)
		}
	case lineRefused:
		p.refused = append(p.refused, about)
	case lineClaimed:
		p.claims++
	case lineHandled:
		p.handled[about]++
	case linePosted:
		ids := strings.Fields(about)
		for _, id := range ids {
			p.posted[id] = true
			p.together[id] = len(ids) > 1
		}
	case lineMissing:
		for id := range strings.FieldsSeq(about) {
			p.missing[id]++
		}
	case lineDeleted, lineRejected:
		for id := range strings.FieldsSeq(about) {
			delete(p.posted, id)
		}
	default:
		p.lines[kind] = about
	}
}

// has tells whether the app has written a line of a kind.
func (p *process) has(kind string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.lines[kind]
	return ok
}

// acceptedCount tells how many messages the app has accepted so far.
func (p *process) acceptedCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted)
}

// handledCount tells how many messages the app has handled so far.
func (p *process) handledCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.handled)
}

// sharedCount tells how many messages were delivered within their call in a
// request with messages of other calls.
func (p *process) sharedCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for id, state := range p.accepted {
		if state == core.Delivered.String() && p.together[id] {
			n++
		}
	}
	return n
}

// claimCount tells how often the app has claimed rows so far.
func (p *process) claimCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims
}

// ambiguousCount tells how many messages got no answer, each as often as it
// did not.
func (p *process) ambiguousCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, times := range p.missing {
		n += times
	}
	return n
}

// goroutines stops the publishers of a watched app, waits until everything
// was delivered and returns how many goroutines the app has then.
func (p *process) goroutines(t *testing.T, server *office) int {
	t.Helper()
	p.hush(t)
	accepted := p.acceptedCount()
	until(t, func() bool { return server.distinct() >= accepted }, "all are delivered")
	n, err := strconv.Atoi(p.hush(t))
	require.NoError(t, err)
	return n
}

// hush stops the publishers and returns what the app says about that.
func (p *process) hush(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	delete(p.lines, lineQuiet)
	p.mu.Unlock()
	p.tell(t, "hush")
	p.await(t, lineQuiet)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[lineQuiet]
}

// exited tells whether the app has ended and its output was read.
func (p *process) exited() bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}

// await waits until the app has written a line of a kind.
func (p *process) await(t *testing.T, kind string) {
	t.Helper()
	until(t, func() bool { return p.has(kind) || p.exited() }, "the app says %q", kind)
	require.True(t, p.has(kind), "the app has ended before it said %q", kind)
}

// until waits for a condition.
func until(t *testing.T, condition func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, "waited in vain until "+fmt.Sprintf(what, args...))
}

// tell gives the app a command.
func (p *process) tell(t *testing.T, command string) {
	t.Helper()
	_, err := fmt.Fprintln(p.input, command)
	require.NoError(t, err)
}

// kill kills the app with SIGKILL, and returns when it is gone.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	_ = p.wait()
}

// wait waits until the app has ended and returns its error.
func (p *process) wait() error {
	if p.ended {
		return nil
	}
	p.ended = true
	<-p.read
	_ = p.input.Close()
	return p.command.Wait()
}

// stop has the app stop its client and end, which must succeed. It returns
// how long Stop took.
func (p *process) stop(t *testing.T) time.Duration {
	t.Helper()
	p.tell(t, "stop")
	return p.stopped(t)
}

// stopped waits until an app that was told to stop has done so.
func (p *process) stopped(t *testing.T) time.Duration {
	t.Helper()
	select {
	case <-p.read:
	case <-time.After(patience):
		require.Fail(t, "the app did not end")
	}
	require.NoError(t, p.wait())
	took, err := time.ParseDuration(p.lines[lineStopped])
	require.NoError(t, err)
	return took
}
