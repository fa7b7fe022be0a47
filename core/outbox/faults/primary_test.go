//go:build unix

package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// TestPrimaryKilled kills the primary of a replicated database under two apps, one of
// which publishes, and promotes the standby. The server is down, so that
// accepted messages are in the database alone. In every other round the standby is away
// before: with synchronous replication nothing is accepted then, and without it, in
// the full form, that is lost.
func TestPrimaryKilled(t *testing.T) {
	t.Parallel()
	replications := map[string]testdb.Replication{"synchronous": testdb.Synchronous}
	if full() {
		replications["asynchronous"] = testdb.Asynchronous
	}
	for name, replication := range replications {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPrimaryKilled(t, name, replication)
		})
	}
}

func testPrimaryKilled(t *testing.T, name string, replication testdb.Replication) {
	const lease, within = 5 * time.Second, 5 * time.Second
	times := byForm(20, 2)
	k, l, server := postgres(), newLedger(), newOffice(t)
	pair := testdb.NewPostgresPair(t, replication)
	way := testdb.NewProxy(t, pair.Primary.Address())
	place := way.Through(pair.Primary, pair.Create(t))
	a := app{Store: k.name, Place: place, Server: server.URL(), Run: "r", Lease: lease, Watched: true}
	relay := start(t, a)
	relay.await(t, lineStarted)
	a.Publishers, a.Modes = 32, []core.Mode{core.Off, core.Durable}
	p := start(t, a)
	p.await(t, lineStarted)
	var longest time.Duration
	goesOn := func(more int, what string) {
		accepted := p.acceptedCount()
		until(t, func() bool { return p.acceptedCount() >= accepted+more || p.exited() }, "%s", what)
	}
	for round := range times {
		server.Stop()
		goesOn(200, "messages are stored")
		if round%2 == 1 {
			pair.Standby.Kill(t)
			<-time.After(500 * time.Millisecond) // of publishing
		}
		pair.Primary.Kill(t)
		if round%2 == 1 {
			pair.Standby.Start(t)
		}
		pair.Promote(t)
		way.Flip(pair.Primary.Address())
		back := time.Now()
		goesOn(100, "messages are stored again")
		longest = max(longest, time.Since(back))
		require.NoError(t, server.Restart())
		pair.Rejoin(t)
	}
	goesOn(100, "messages are accepted")
	p.stop(t)
	relay.stop(t)
	l.accept(p, false)
	l.accept(relay, false)
	drain(t, k, place, server, lease)
	l.arrive(server)
	read(t, k, place, l)
	l.report(t, "%s replication, primary killed %d times, %d not accepted, publishing again after %v at most",
		name, times, len(p.refused), longest.Round(10*time.Millisecond))
	assert.LessOrEqual(t, longest, within)
	assert.LessOrEqual(t, l.duplicates(), 2*times*inFlight)
	if replication == testdb.Synchronous {
		l.noneLost(t)
	} else {
		assert.NotEmpty(t, l.lost(), "what the standby had not got")
	}
}
