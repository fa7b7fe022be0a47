package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startDev starts the development server as a user does, in a process of its
// own, and returns its address. It ends with the test.
func startDev(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "postoffice")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../core/cmd/postoffice")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	var stderr strings.Builder
	dev := exec.CommandContext(ctx, binary, "dev", "--json", "--addr", "127.0.0.1:0")
	dev.Stderr = &stderr
	dev.WaitDelay = 30 * time.Second // killed after that
	if runtime.GOOS != "windows" {
		dev.Cancel = func() error { return dev.Process.Signal(os.Interrupt) }
	}
	stdout, err := dev.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, dev.Start())
	t.Cleanup(func() {
		cancel()
		_ = dev.Wait() // says that it was cancelled
		if runtime.GOOS != "windows" {
			assert.Equal(t, 0, dev.ProcessState.ExitCode(), "%s", &stderr)
		}
	})
	var started struct{ URL string }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &started))
	return started.URL
}

// TestDevelopmentServer runs the program twice against one server, which knows
// its topic and its consumer the second time.
func TestDevelopmentServer(t *testing.T) {
	t.Setenv("POSTOFFICE_URL", "http://127.0.0.1:1") // the flag goes first
	server := startDev(t)
	story := tellStory(t, append(freeAddresses, "-server", server)...)
	addresses := regexp.MustCompile(`is at http://(\S+) and`).FindAllStringSubmatch(story, -1)
	require.Len(t, addresses, 2)
	tellStory(t, "-server", server, "-shop", addresses[0][1], "-billing", addresses[1][1])
}
