package testdb

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// helperVariable is the environment variable that makes the test binary a
// process that starts servers and waits.
const helperVariable = "POSTOFFICE_TESTDB_HELPER"

// TestHelper is that process, and nothing in a normal run. It prints the process ID and the directory of
// each server.
func TestHelper(t *testing.T) {
	if os.Getenv(helperVariable) == "" {
		return
	}
	for _, server := range []*Server{Postgres(t), MariaDB(t), NewPostgres(t, WithClock()), NewMariaDB(t, WithClock())} {
		fmt.Println("server", server.Pid(), server.directory.path)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other process kills this one, or ends
}

// TestServersEndWithTheProcess kills a process that uses servers.
func TestServersEndWithTheProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with the one that started it")
	}
	live := []*Server{Postgres(t), MariaDB(t)}
	helper := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelper$", "-test.timeout=5m")
	helper.Env = append(os.Environ(), helperVariable+"=1")
	helper.Stderr = os.Stderr
	input, err := helper.StdinPipe()
	require.NoError(t, err)
	output, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	t.Cleanup(func() { _ = input.Close() })

	var pids []int
	var directories []string
	for lines := bufio.NewScanner(output); len(pids) < 4 && lines.Scan(); {
		var pid int
		var directory string
		if _, err := fmt.Sscanf(lines.Text(), "server %d %s", &pid, &directory); err == nil {
			pids = append(pids, pid)
			directories = append(directories, directory)
		}
	}
	if !assert.Len(t, pids, 4) {
		_ = helper.Process.Kill()
		_ = helper.Wait()
		return
	}
	table, err := processTable()
	require.NoError(t, err)
	for _, pid := range pids {
		assert.Equal(t, helper.Process.Pid, table[pid].parent)
		pids = append(pids, descendants(table, pid)...)
	}
	require.NoError(t, helper.Process.Kill())
	assert.Error(t, helper.Wait())
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		table, err := processTable()
		assert.NoError(t, err)
		for _, pid := range pids {
			if entry, found := table[pid]; found {
				assert.Equal(t, byte('Z'), entry.state, "process %d", pid)
			}
		}
	}, patience, pollInterval)

	// A later run removes the remains, and nothing that is in use.
	removeLeftovers()
	for _, directory := range directories {
		assert.DirExists(t, directory, "it is too young")
	}
	old := time.Now().Add(-time.Hour)
	for _, server := range live {
		directories = append(directories, server.directory.path)
	}
	for _, directory := range directories {
		require.NoError(t, os.Chtimes(directory, old, old))
	}
	removeLeftovers()
	for _, directory := range directories[:4] {
		assert.NoDirExists(t, directory)
	}
	for _, server := range live {
		assert.DirExists(t, server.directory.path)
		execute(t, open(t, server.Create(t)), "CREATE TABLE t (a INT)")
	}
	for _, pid := range pids {
		left, err := filepath.Glob(fmt.Sprintf("/dev/shm/*faketime*_%d", pid))
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}
