//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// TestDev publishes to the development server, and ends it.
func TestDev(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.db")
	for round := range 2 {
		c := prepare(t, nil, "dev", "--json", "--addr", "127.0.0.1:0", "--file", file).start()
		require.Eventually(t, func() bool { return strings.HasSuffix(c.stdout.String(), "\n") }, patience, poll)
		var started devStarted
		result{t: t, stdout: c.stdout.String()}.decode(&started)
		var configured configureResult
		run(t, "configure", "topics", "--json", "--url", started.URL, "--topic", "orders", "--origin-host", "shop").is(exit.OK).decode(&configured)
		assert.Equal(t, []string{"created", "exists"}[round], configured.Topics[0].Status, "what the server holds is kept")
		run(t, "publish", "orders", "{}", "--url", started.URL).is(exit.OK)
		run(t, "dev", "--addr", "127.0.0.1:0", "--file", file).is(exit.InUse).says("--file")
		run(t, "dev", "--addr", strings.TrimPrefix(started.URL, "http://")).is(exit.Failed).says("another program listens on the address 127.0.0.1:")
		require.NoError(t, c.command.Process.Signal(os.Interrupt))
		c.wait().is(exit.OK)
	}
	run(t, "dev", "--addr", "nowhere").is(exit.Usage).says("nowhere")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	run(t, "dev", "--addr", listener.Addr().String()).is(exit.Failed).says("--addr 127.0.0.1:0 uses a free port")
	run(t, "dev", "--addr", "127.0.0.1:0", "--allow-host", "a.test", "--allow-host", "http://b.test").is(exit.Usage).says("http://b.test")
}
