//go:build unix

package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// TestServerDown takes the server away from an app that publishes 500
// messages a second. Every Publish succeeds all the time, and when the server is
// back all messages are delivered soon.
func TestServerDown(t *testing.T) {
	t.Parallel()
	eachStore(t, nil, func(t *testing.T, k kind) {
		const rate, within = 500, 30 * time.Second
		outage := byForm(time.Minute, 2*time.Second)
		place, server, l := k.create(t), newOffice(t), newLedger()
		p := start(t, app{
			Store: k.name, Place: place, Server: server.URL(), Run: "r",
			Publishers: 16, Modes: []core.Mode{core.Off, core.Durable}, Rate: rate,
		})
		p.await(t, lineStarted)
		require.NoError(t, server.WaitForMessages(t.Context(), topic, rate/2))
		server.Stop()
		before := p.acceptedCount()
		<-time.After(outage)
		during := p.acceptedCount() - before
		require.NoError(t, server.Restart())
		back := time.Now()
		// The app publishes until it gets a command, for a while after the
		// server's return.
		until(t, func() bool { return p.acceptedCount()-before-during > rate }, "the app goes on")
		p.hush(t)
		accepted := p.acceptedCount()
		until(t, func() bool { return server.distinct() >= accepted }, "all are delivered")
		drained := time.Since(back)
		p.stop(t)
		require.Empty(t, p.refused)
		l.accept(p, false)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "down for %v, %d accepted meanwhile, delivered %v after its return", outage, during, drained.Round(10*time.Millisecond))
		assert.Greater(t, during, int(outage.Seconds()*rate)/byForm(2, 10), "messages are accepted as before")
		assert.LessOrEqual(t, drained, within)
		// Requests that the outage cut off may have been taken.
		assert.LessOrEqual(t, l.duplicates(), inFlight)
	})
}
