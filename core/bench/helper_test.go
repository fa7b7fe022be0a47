package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// helperVariable in the environment makes the test binary a helper process.
const helperVariable = "POSTOFFICE_BENCH_HELPER"

// helper is a process of this binary that is the server, or loads an app. It
// takes commands as lines and answers each with one. It ends when its input
// does, so it does not outlive this process.
type helper struct {
	input  io.WriteCloser
	output *bufio.Reader
	// address is where the server listens.
	address string
}

// startHelper starts a helper that ends with the test.
func startHelper(tb testing.TB) *helper {
	command := exec.Command(os.Args[0])
	// With the race detector a process waits a second before it exits.
	command.Env = append(os.Environ(), helperVariable+"=1", "GORACE=atexit_sleep_ms=0")
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	require.NoError(tb, err)
	output, err := command.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, command.Start())
	h := &helper{input: input, output: bufio.NewReader(output)}
	tb.Cleanup(func() {
		_ = input.Close()
		deadline := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		defer deadline.Stop()
		require.NoError(tb, command.Wait())
	})
	h.address = h.ask(tb, "address")
	return h
}

// ask gives the helper a command and returns its answer.
func (h *helper) ask(tb testing.TB, command string, args ...any) string {
	_, err := fmt.Fprintln(h.input, append([]any{command}, args...)...)
	require.NoError(tb, err)
	answer, err := h.output.ReadString('\n')
	require.NoError(tb, err)
	kind, rest, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	require.Equal(tb, "ok", kind, rest)
	return rest
}

// report is what the server has done since it started.
type report struct {
	Messages, Requests int
	// Processor is the CPU time of the helper process.
	Processor time.Duration
}

// report returns what the server has done.
func (h *helper) report(tb testing.TB) report {
	var r report
	require.NoError(tb, json.Unmarshal([]byte(h.ask(tb, "report")), &r))
	return r
}

// received tells how many messages the server has got since it started.
func (h *helper) received(tb testing.TB) int { return h.report(tb).Messages }

// load has the helper send requests to an app, for a limited time.
func (h *helper) load(tb testing.TB, address string, connections, requests int, limit time.Duration) loadResult {
	var result loadResult
	require.NoError(tb, json.Unmarshal([]byte(h.ask(tb, "load", address, connections, requests, limit)), &result))
	return result
}

// help is the main function of a helper.
func help(input io.Reader, output io.Writer) error {
	s, err := newServer()
	if err != nil {
		return err
	}
	defer s.close()
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		answer, err := obey(s, strings.Fields(lines.Text()))
		if err != nil {
			answer = "failed " + err.Error()
		} else {
			answer = "ok " + answer
		}
		if _, err := fmt.Fprintln(output, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// obey carries out one command.
func obey(s *server, command []string) (string, error) {
	switch {
	case len(command) == 1 && command[0] == "address":
		return s.address, nil
	case len(command) == 1 && command[0] == "report":
		processor, err := processorTime()
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(report{int(s.messages.Load()), int(s.requests.Load()), processor})
		return string(text), err
	case len(command) == 1 && command[0] == "model":
		s.model.Store(newModel())
		return "", nil
	case len(command) == 1 && command[0] == "both":
		return s.serveBoth()
	case len(command) == 1 && command[0] == "refuse":
		s.close()
		return "", nil
	case len(command) == 1 && command[0] == "hang":
		s.delay.Store(int64(forever))
		return "", nil
	case len(command) == 2 && command[0] == "delay":
		delay, err := time.ParseDuration(command[1])
		s.delay.Store(int64(delay))
		return "", err
	case len(command) == 5 && command[0] == "load":
		var connections, requests int
		if _, err := fmt.Sscan(command[2]+" "+command[3], &connections, &requests); err != nil {
			return "", err
		}
		limit, err := time.ParseDuration(command[4])
		if err != nil {
			return "", err
		}
		result, err := load(command[1], connections, requests, limit)
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(result)
		return string(text), err
	}
	return "", fmt.Errorf("unknown command %q", command)
}
