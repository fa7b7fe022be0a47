package main

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

func TestHealth(t *testing.T) {
	server := office(t)
	address := withPassword(server.URL())
	var got healthResult
	run(t, "health", "--json", "--url", address).is(exit.OK).decode(&got)
	assert.Equal(t, "ok", got.Status)
	assert.Equal(t, server.URL(), got.URL)
	assert.Positive(t, got.Milliseconds)
	assert.Contains(t, run(t, "health", "--url", address).is(exit.OK).stdout, "ok "+server.URL())

	server.SetUnwell(true)
	run(t, "health", "--json", "--url", address).is(exit.Failed).says("unhealthy", "check the log of the server").decode(&got)
	assert.Equal(t, "unhealthy", got.Status)
	server.Resume()

	server.FailNext(1, 502)
	run(t, "health", "--json", "--url", address).is(exit.Unreachable).says("502", "try again later").decode(&got)
	assert.Equal(t, "failing", got.Status)

	server.FailNext(1, 404)
	run(t, "health", "--url", address).is(exit.Failed).says("404", "address of a Postoffice server")
	server.FailNext(1, 302)
	run(t, "health", "--url", address).is(exit.Failed).says("302", "is this the address of a Postoffice server?")

	server.FailNext(1, 401)
	run(t, "health", "--url", address).is(exit.Failed).says("401", "requires credentials")

	server.Hang()
	run(t, "health", "--json", "--url", address, "--timeout", "50ms").is(exit.Unreachable).says("--timeout").decode(&got)
	assert.Equal(t, "unreachable", got.Status)
	server.Resume()

	server.Stop()
	run(t, "health", "--json", "--url", address).is(exit.Unreachable).says("refused", "is the server at "+server.URL()+" running").decode(&got)
	assert.Equal(t, "unreachable", got.Status)
}

// TestHealthWait has the server become well after a while.
func TestHealthWait(t *testing.T) {
	server := office(t)
	var asked atomic.Int32
	server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, asked.Add(1) < 3 })
	run(t, "health", "--url", server.URL(), "--wait", "1m").is(exit.OK)
	assert.Equal(t, int32(3), asked.Load())

	asked.Store(-1000)
	run(t, "health", "--url", server.URL(), "--wait", "1s").is(exit.Unreachable)
	assert.GreaterOrEqual(t, asked.Load(), int32(-998), "it asked again")
}
