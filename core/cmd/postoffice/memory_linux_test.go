package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// TestMemory compares what a long input needs with what a short one does.
func TestMemory(t *testing.T) {
	server := accepting(t)
	line := `{"text":"` + strings.Repeat("x", 1000) + "\"}\n"
	most := func(lines int) int {
		c := prepare(t, nil, "publish", "orders", "--json", "--url", server)
		input, err := c.command.StdinPipe()
		require.NoError(t, err)
		c.start()
		for range lines {
			_, err := io.WriteString(input, line)
			require.NoError(t, err)
		}
		largest := mostResident(t, c.command.Process.Pid)
		require.NoError(t, input.Close())
		var got publishResult
		c.wait().is(exit.OK).decode(&got)
		require.Equal(t, lines, got.Accepted)
		return largest
	}
	short, long := most(10_000), most(150_000)
	t.Logf("most memory: %d kB for 10 MB, %d kB for 150 MB", short, long)
	assert.Less(t, long, short*3/2)
}

// mostResident returns the most memory, in kB, that a process has had so far.
// What a process tells at its end counts that of its parent, too.
func mostResident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	require.True(t, ok)
	var kilobytes int
	_, err = fmt.Sscan(rest, &kilobytes)
	require.NoError(t, err)
	return kilobytes
}

// accepting starts a server that takes every message and keeps none.
func accepting(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client fails if this does
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"data":{"result":[1]}}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
