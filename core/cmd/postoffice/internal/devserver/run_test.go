package devserver

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	defaults, err := Options{}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:4000", defaults.Addr)
	assert.Equal(t, 10_000, defaults.History)
	for name, o := range map[string]Options{
		"Addr":        {Addr: "4000"},
		"History":     {History: 99},
		"MaxRetryGap": {MaxRetryGap: time.Millisecond},
	} {
		err := Run(t.Context(), o)
		assert.ErrorIs(t, err, ErrOptions)
		assert.ErrorContains(t, err, name)
	}
	assert.ErrorContains(t, Run(t.Context(), Options{MaxRetryGap: -1}), "MaxRetryGap")
}

func TestAddressInUse(t *testing.T) {
	socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = socket.Close() }()
	file := filepath.Join(t.TempDir(), "dev.db")
	err = Run(t.Context(), Options{Addr: socket.Addr().String(), File: file})
	require.ErrorContains(t, err, "address already in use")
	start(t, Options{File: file}) // it was let go
}

func TestOutput(t *testing.T) {
	s := start(t, Options{})
	assert.Contains(t, s.out.String(), s.url)
	assert.Contains(t, s.out.String(), "in memory")
	assert.NotContains(t, s.out.String(), "WARNING")

	file := filepath.Join(t.TempDir(), "dev.db")
	s = start(t, Options{File: file, MaxRetryGap: time.Second})
	assert.Contains(t, s.out.String(), file)
	assert.Contains(t, s.out.String(), "after 1s")
}

// Nobody is surprised that others can read along.
func TestWarning(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	o, err := Options{Addr: "0.0.0.0:4000", Out: &out, Logger: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()
	require.NoError(t, err)
	cancel()
	newApp(ctx, o).announce("http://0.0.0.0:4000") // without listening there
	assert.Contains(t, out.String(), "WARNING")
	assert.Contains(t, log.String(), "beyond this machine")
}

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:4000": true, "127.8.9.1:1": true, "localhost:4000": true, "LOCALHOST:1": true, "[::1]:4000": true,
		":4000": false, "0.0.0.0:4000": false, "[::]:4000": false, "192.168.1.2:4000": false, "example.org:80": false, "nonsense": false,
	} {
		assert.Equal(t, want, isLoopback(address), address)
	}
}
