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

// TestKilledWithMessagesInMemory kills an app that publishes to memory while its
// server hangs, is slow or fails. Only messages that were accepted just before
// may be lost.
func TestKilledWithMessagesInMemory(t *testing.T) {
	t.Parallel()
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
		// A message of that age is in the outbox: twice Batching.MaxAge, or more
		// where other tests keep the machine busy.
		window := byForm[time.Duration](2, 8) * core.DefaultMaxAge
		rate := byForm(2000, 500)
		place, server, l := k.create(t), newOffice(t), newLedger()
		recent := map[string]bool{} // accepted within the window before a kill
		for round := range times {
			trouble := troubles[round%len(troubles)]
			p := start(t, app{
				Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint(trouble.name, round),
				Publishers: 16, Modes: []core.Mode{core.Memory}, Rate: rate, Lease: lease,
			})
			p.await(t, lineStarted)
			trouble.begin(server)
			accepted := int((window+time.Second).Seconds()*float64(rate)) + rand.IntN(rate)
			until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			killed := time.Now()
			p.kill()
			require.Equal(t, -1, p.command.ProcessState.ExitCode(), "it ended by the signal")
			require.Empty(t, p.refused)
			for id, at := range p.answered {
				if at.After(killed.Add(-window)) {
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
		l.report(t, "killed %d times; of %d accepted within %v before, %d are lost", times, len(recent), window, lost)
		assert.Empty(t, l.stored)
	})
}
