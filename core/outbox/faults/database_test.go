//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// TestDatabaseKilled kills the database server under an app that publishes,
// and starts it again. Publish still succeeds, because the Postoffice
// server takes what the outbox does not, and when the database is back the
// relay delivers from it again soon, whoever has stored the message.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		const lease, within = 5 * time.Second, 5 * time.Second
		times := byForm(20, 2)
		database := k.server(t)
		place, server, l := database.Create(t), newOffice(t), newLedger()
		p := start(t, app{
			Store: k.name, Place: place, Server: server.URL(), Run: "r",
			Publishers: 8, Modes: []core.Mode{core.Off, core.Durable}, Rate: 200, Lease: lease,
		})
		p.await(t, lineStarted)
		var longest time.Duration
		for round := range times {
			accepted := p.acceptedCount() + 50 + rand.IntN(100)
			until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			database.Kill(t)
			// Half of the time nobody publishes when the database comes back, so
			// that nothing but the relay itself finds out that it has.
			if round%2 == 1 {
				p.hush(t)
			}
			<-time.After(rand.N(byForm(10*time.Second, 3*time.Second)))
			database.Start(t)
			back := time.Now()
			mark := fmt.Sprint("mark-", round)
			seed(t, k, place, l, mark, 1)
			until(t, func() bool { return server.has(mark + "-0") }, "a message in the outbox is delivered")
			longest = max(longest, time.Since(back))
			if round%2 == 1 {
				p.tell(t, "publish")
			}
		}
		p.stop(t)
		l.accept(p, false)
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "killed %d times, %d not accepted, relay back after %v at most", times, len(p.refused), longest.Round(10*time.Millisecond))
		assert.Empty(t, p.refused)
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, l.duplicates(), times*inFlight)
		assert.LessOrEqual(t, longest, within)
	})
}

// TestDatabaseSilent lets every connection between an app and its database
// fall silent, as a firewall does that forgets them: nothing is refused, and
// nothing is answered. New connections work, so the relay must give up the
// old ones in time.
func TestDatabaseSilent(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		const lease, within = 5 * time.Second, 15 * time.Second // a few timeouts of 5 s
		place, server, l := k.create(t), newOffice(t), newLedger()
		way := newProxy(t, addressIn(place))
		var silent atomic.Int32 // connections of earlier generations are silent
		way.behave(func() func([]byte) verdict {
			generation := silent.Load()
			return func([]byte) verdict {
				if silent.Load() > generation {
					return freeze
				}
				return pass
			}
		})
		p := start(t, app{
			Store: k.name, Place: strings.Replace(place, addressIn(place), way.address(), 1), Server: server.URL(), Run: "r",
			Publishers: 4, Modes: []core.Mode{core.Off, core.Durable}, Rate: 200, Lease: lease, Watched: true,
		})
		p.await(t, lineStarted)
		until(t, func() bool { return p.acceptedCount() >= 100 }, "some are accepted")
		// A watched app closes the idle connections of its pool, for each of them
		// takes a while to give up. The relay has one after that.
		p.hush(t)
		seed(t, k, place, l, "before", 1)
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		until(t, func() bool { return server.has("before-0") && len(list(t, store)) == 0 }, "a message in the outbox is delivered")
		require.NoError(t, closeStore())
		silent.Add(1)
		begun := time.Now()
		seed(t, k, place, l, "mark", 1)
		until(t, func() bool { return server.has("mark-0") }, "a message in the outbox is delivered")
		took := time.Since(begun)
		p.stop(t)
		l.accept(p, false)
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "every connection silent, relay back after %v", took.Round(10*time.Millisecond))
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, took, within)
	})
}
