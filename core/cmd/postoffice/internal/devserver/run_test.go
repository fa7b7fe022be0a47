package devserver

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
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
		"AllowHosts":  {AllowHosts: []string{"postoffice.test", "http://postoffice.test"}},
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
	require.ErrorIs(t, err, ErrAddrInUse)
	require.EqualError(t, err, "another program listens on the address "+socket.Addr().String())
	start(t, Options{File: file}) // the file was released
}

// TestAddressThatIsNotThere uses the address of another machine and an invalid port.
func TestAddressThatIsNotThere(t *testing.T) {
	for _, address := range []string{"192.0.2.1:0", "127.0.0.1:65536"} {
		err := Run(t.Context(), Options{Addr: address})
		require.ErrorIs(t, err, ErrAddr)
		assert.ErrorContains(t, err, "cannot listen on the address "+address+": ")
		assert.NotContains(t, err.Error(), "postofficetest")
	}
}

func TestOutput(t *testing.T) {
	s := start(t, Options{})
	assert.Contains(t, s.out.String(), s.url)
	assert.Contains(t, s.out.String(), "in memory")
	assert.NotContains(t, s.out.String(), "WARNING")

	file := filepath.Join(t.TempDir(), "dev.db")
	s = start(t, Options{File: file, MaxRetryGap: time.Second})
	assert.Contains(t, s.out.String(), file)
	assert.Contains(t, s.out.String(), "after at most 1s")
}

// TestRealistic checks that the server responds no faster than a real server.
func TestRealistic(t *testing.T) {
	s := start(t, Options{Realistic: true})
	assert.Contains(t, s.out.String(), "as slow as on a real server")
	s.addTopic("orders")
	begun := time.Now()
	s.publish("orders", `{"text":"`+strings.Repeat("x", 1_000_000)+`"}`)
	assert.Greater(t, time.Since(begun), 300*time.Millisecond)
}

// The server warns if other machines can reach it.
func TestWarning(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	o, err := Options{Addr: "0.0.0.0:4000", Out: &out, Logger: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()
	require.NoError(t, err)
	cancel()
	newApp(ctx, o).announce("http://0.0.0.0:4000") // without listening there
	assert.Contains(t, out.String(), "WARNING")
	assert.Contains(t, log.String(), "can be reached from other machines")
}
