//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// memoryWindow is how old a message that was queued in memory may be at most
// for a crash to lose it: twice Batching.MaxAge, which leaves as much again for
// a machine that has much else to do.
const memoryWindow = 2 * core.DefaultMaxAge

// TestKilledWithMessagesInMemory kills an app that publishes to memory while its
// server hangs, is slow or fails. Only messages that were accepted just before
// may be lost.
func TestKilledWithMessagesInMemory(t *testing.T) {
	troubles := []struct {
		name  string
		begin func(*office)
	}{
		{"hanging", func(s *office) { s.Hang() }},
		{"slow", func(s *office) { s.Delay(400 * time.Millisecond) }},
		{"failing", func(s *office) {
			s.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, rand.IntN(3) > 0 })
		}},
	}
	eachStore(t, nil, func(t *testing.T, k kind) {
		const lease = 5 * time.Second
		times := byForm(100, 3)
		place, server, l := k.create(t), newOffice(t), newLedger()
		recent := map[string]bool{} // accepted within the window before a kill
		for round := range times {
			trouble := troubles[round%len(troubles)]
			p := start(t, app{
				Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint(trouble.name, round),
				Publishers: 16, Modes: []core.Mode{core.Memory}, Rate: 2000, Lease: lease,
			})
			p.await(t, lineStarted)
			trouble.begin(server)
			accepted := 1000 + rand.IntN(3000)
			until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			killed := time.Now()
			p.kill()
			require.Equal(t, -1, p.command.ProcessState.ExitCode(), "it ended by the signal")
			require.Empty(t, p.refused)
			for id, at := range p.answered {
				if at.After(killed.Add(-memoryWindow)) {
					recent[id] = true
				} else {
					l.accepted[id] = true
				}
			}
			server.Resume()
			server.renew(t, l)
			look(t, k, place, l)
		}
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		lost := 0
		for id := range recent {
			if l.arrived[id] == 0 {
				lost++
			}
		}
		l.report(t, "killed %d times; of %d accepted within %v before, %d are lost", times, len(recent), memoryWindow, lost)
		assert.Empty(t, l.stored)
	})
}
