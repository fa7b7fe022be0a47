//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// TestTerminatedUnderLoad sends SIGTERM to an app while it publishes in every
// mode, Memory among them. Stop must return nil within its deadline, with a
// server that is well, that is down and that does not answer.
func TestTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	eachStore(t, nil, func(t *testing.T, k kind) {
		const lease, stopWithin = 5 * time.Second, 10 * time.Second
		times := byForm(100, 3)
		place, server, l := k.create(t), newOffice(t), newLedger()
		var longest time.Duration
		for round := range times {
			switch round % 3 {
			case 1:
				server.Stop()
			case 2:
				server.Hang()
			}
			p := start(t, app{
				Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint("r", round),
				Publishers: 12, Modes: []core.Mode{core.Off, core.Durable, core.Memory}, Lease: lease, StopWithin: stopWithin,
			})
			p.await(t, lineStarted)
			accepted := rand.IntN(byForm(1500, 300))
			until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			require.NoError(t, p.command.Process.Signal(syscall.SIGTERM))
			longest = max(longest, p.stopped(t))
			require.Empty(t, p.refused)
			l.accept(p, false)
			server.renew(t, l)
			look(t, k, place, l)
		}
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "terminated %d times, longest Stop %v", times, longest.Round(time.Millisecond))
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, longest, stopWithin)
	})
}
