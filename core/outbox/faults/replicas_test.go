//go:build unix

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// replicaServer starts a database server that has enough connections for many
// replicas.
func replicaServer(t *testing.T, k kind) *testdb.Server {
	t.Helper()
	return k.server(t, testdb.WithSetting("max_connections", "500"))
}

// TestReplicasKilled kills two of many replicas with SIGKILL, again and again, and
// starts them anew, while all of them publish and a server fails now and then.
func TestReplicasKilled(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		const lease, together = 3 * time.Second, 2
		replicas, times := byForm(20, 5), byForm(5, 2)
		place, server, l := replicaServer(t, k).Create(t), newOffice(t), newLedger()
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, rand.IntN(5) == 0 })
		started := 0
		replica := func() *process {
			started++
			return start(t, app{
				Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint("r", started),
				Publishers: 4, Modes: []core.Mode{core.Off, core.Durable}, Rate: byForm(10, 50), Lease: lease,
			})
		}
		var running []*process
		for range replicas {
			running = append(running, replica())
		}
		settle := func(p *process, killed bool) {
			require.Empty(t, p.refused)
			l.accept(p, killed)
		}
		for range times {
			for _, p := range running {
				p.await(t, lineStarted)
			}
			<-time.After(byForm(time.Minute, 500*time.Millisecond+rand.N(500*time.Millisecond)))
			for _, i := range rand.Perm(replicas)[:together] {
				running[i].kill()
				require.Equal(t, -1, running[i].command.ProcessState.ExitCode(), "it ended by the signal")
				settle(running[i], true)
				running[i] = replica()
			}
		}
		for _, p := range running {
			p.await(t, lineStarted)
			p.stop(t)
			settle(p, false)
		}
		server.FailWhen(nil)
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "%d of %d replicas killed %d times", together, replicas, times)
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, l.duplicates(), together*times*inFlight)
	})
}

// TestReplicasDrain has more and more replicas deliver what waits in one database:
// as fast as they can, and with a limit for each.
func TestReplicasDrain(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		database := replicaServer(t, k)
		first := 0.0
		for _, replicas := range byForm([]int{1, 4, 20}, []int{1, 4}) {
			perSecond := drainRate(t, k, database, replicas, 0, byForm(40_000, 1000))
			if first == 0 {
				first = perSecond
			}
			t.Logf("RESULT %s: %d replicas: %.0f messages a second, %.2f times as many as 1", t.Name(), replicas, perSecond, perSecond/first)
		}
		const limit = 100
		for _, replicas := range byForm([]int{1, 4, 20}, []int{4}) {
			// For some seconds, so that the burst is a small part.
			perSecond := drainRate(t, k, database, replicas, limit, replicas*limit*byForm(10, 2))
			t.Logf("RESULT %s: %d replicas, RelayRate %d: %.0f messages a second", t.Name(), replicas, limit, perSecond)
		}
	})
}

// drainRate lets replicas, each with a limit if it is positive, deliver messages
// that become due together, and returns how many arrive in a second. The server
// never gets more than the limits and their bursts allow.
func drainRate(t *testing.T, k kind, database *testdb.Server, replicas, limit, messages int) float64 {
	t.Helper()
	place, server, l := database.Create(t), newOffice(t), newLedger()
	due := time.Now().Add(byForm(8*time.Second, 500*time.Millisecond))
	seedDue(t, k, place, l, "r", messages, due)
	if now := time.Now(); now.After(due) {
		due = now
	}
	var running []*process
	for range replicas {
		running = append(running, start(t, app{Store: k.name, Place: place, Server: server.URL(), RelayRate: limit}))
	}
	for _, p := range running {
		p.await(t, lineStarted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.WaitForMessages(ctx, topic, 1))
	begun := time.Now()
	if limit > 0 {
		perSecond := float64(replicas * limit)
		for arrived := 0; arrived < messages; {
			// Nothing was claimed before it was due.
			require.NoError(t, server.WaitForMessages(ctx, topic, min(arrived+replicas*limit/4, messages)))
			arrived = len(server.Messages())
			since := time.Since(due)
			require.LessOrEqual(t, float64(arrived), perSecond*(since.Seconds()+0.25), "messages that have arrived within %v", since)
		}
	}
	awaitAll(t, server, messages)
	took := time.Since(begun)
	for _, p := range running {
		p.stop(t)
	}
	l.arrive(server)
	look(t, k, place, l)
	assert.Empty(t, l.stored)
	assert.Zero(t, l.duplicates())
	return float64(messages) / took.Seconds()
}
