package core_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/h2non/gock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		check  func(*testing.T, error)
	}{
		{"well", 200, `{"status":"ok"}`, func(t *testing.T, err error) { require.NoError(t, err) }},
		{"not well", 200, `{"status":"ko"}`, func(t *testing.T, err error) {
			require.ErrorIs(t, err, core.ErrUnhealthy)
			assert.Contains(t, err.Error(), `"ko"`)
		}},
		{"something else", 200, `<html>`, func(t *testing.T, err error) { require.ErrorIs(t, err, core.ErrUnhealthy) }},
		{"failing", 503, ``, func(t *testing.T, err error) {
			response, ok := errors.AsType[*core.ResponseError](err)
			require.True(t, ok)
			assert.Equal(t, 503, response.StatusCode)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			gock.New(testServer).Get("/api/health").Reply(test.status).BodyString(test.body)
			test.check(t, mocked(t, core.Config{}).Health(t.Context()))
		})
	}
}

func TestHealthOfNoServer(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	client := newTestClient(t, core.Config{URL: "http://" + listener.Addr().String()})
	require.ErrorIs(t, client.Health(t.Context()), syscall.ECONNREFUSED)
}
