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

// TestKilledAtRandom kills an app with SIGKILL while 32 goroutines publish,
// again and again on the same outbox, at moments drawn at random. Half of the
// publishers post at once and store what fails, half store first.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	eachStore(t, nil, func(t *testing.T, k kind) {
		const lease = 5 * time.Second
		times := byForm(200, 20)
		place, server, l := k.create(t), newOffice(t), newLedger()
		for round := range times {
			switch round % 4 {
			case 1: // a server that fails now and then
				server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, rand.IntN(5) == 0 })
			case 3: // a server that is down
				server.Stop()
			}
			p := start(t, app{
				Store: k.name, Place: place, Server: server.URL(), Run: fmt.Sprint("r", round),
				Publishers: 32, Modes: []core.Mode{core.Off, core.Durable}, Lease: lease,
			})
			if round%10 == 9 { // also while it starts
				<-time.After(rand.N(200 * time.Millisecond))
			} else {
				p.await(t, lineStarted)
				accepted := rand.IntN(byForm(1500, 300))
				until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			}
			p.kill()
			require.Equal(t, -1, p.command.ProcessState.ExitCode(), "it ended by the signal")
			require.Empty(t, p.refused)
			l.accept(p, true)
			server.renew(t, l)
			if round%10 == 0 {
				look(t, k, place, l)
			}
		}
		drain(t, k, place, server, lease)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "killed %d times", times)
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, l.duplicates(), times*inFlight)
	})
}

// look reads the store, which nobody uses, and sees that nothing is lost.
func look(t *testing.T, k kind, place string, l *ledger) {
	t.Helper()
	read(t, k, place, l)
	l.noneLost(t)
}

// read notes the messages in the store, which nobody uses.
func read(t *testing.T, k kind, place string, l *ledger) {
	t.Helper()
	store, closeStore, err := k.open(t.Context(), place, nil)
	require.NoError(t, err)
	l.keep(t, store)
	require.NoError(t, closeStore())
	if k.check != nil {
		k.check(t, place)
	}
}
