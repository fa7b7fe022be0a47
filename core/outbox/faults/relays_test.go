//go:build unix

package faults

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRelaysShareAStore has several processes deliver the messages of one store.
// Without a fault every message arrives once.
func TestRelaysShareAStore(t *testing.T) {
	t.Parallel()
	for _, relays := range []int{2, 4} {
		t.Run(fmt.Sprint(relays, " relays"), func(t *testing.T) {
			t.Parallel()
			eachStore(t, own, func(t *testing.T, k kind) {
				messages := byForm(100_000, 3000)
				place, server, l := k.create(t), newOffice(t), newLedger()
				seed(t, k, place, l, "r", messages)
				begun := time.Now()
				running := startRelays(t, relays, app{Store: k.name, Place: place, Server: server.URL()})
				awaitAll(t, server, messages)
				took := time.Since(begun)
				working := 0
				for _, p := range running {
					p.stop(t)
					if p.claimCount() > 0 {
						working++
					}
				}
				l.arrive(server)
				look(t, k, place, l)
				l.report(t, "delivered in %v, %d relays had a share", took.Round(10*time.Millisecond), working)
				if full() { // of few messages the first one may get them all
					assert.Equal(t, relays, working, "each relay had something to deliver")
				}
				assert.Empty(t, l.stored)
				assert.Zero(t, l.duplicates())
			})
		})
	}
}

// TestPausedRelay stops one of several processes, as by a debugger or a
// suspended machine, while it delivers, until others have its messages.
func TestPausedRelay(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		const lease = 3 * time.Second
		messages := byForm(100_000, 3000)
		place, server, l := k.create(t), newOffice(t), newLedger()
		const posts = 4
		seed(t, k, place, l, "paused", posts*bulkLimit)
		a := app{Store: k.name, Place: place, Server: server.URL(), Lease: lease}
		// It is paused while it waits for answers and has nothing more to claim: in
		// the middle of a claim it would lock rows for as long as it is paused.
		server.Hang()
		paused := startRelays(t, 1, a)[0]
		until(t, func() bool { return paused.claimCount() == posts && len(server.Requests()) > posts }, "a relay posts")
		require.NoError(t, paused.command.Process.Signal(syscall.SIGSTOP))
		posted := 0 // messages, also by posts that ran out of time before it was paused
		for _, request := range server.Requests() {
			if strings.Contains(request.Path, "messages") {
				posted += bytes.Count(request.Body, []byte(`"id"`))
			}
		}
		server.Resume()
		seed(t, k, place, l, "r", messages-posts*bulkLimit)
		others := startRelays(t, 1, a)
		awaitAll(t, server, messages)
		require.NoError(t, paused.command.Process.Signal(syscall.SIGCONT))
		// It finds out that its time is over, and continues with nothing.
		paused.stop(t)
		for _, p := range others {
			p.stop(t)
		}
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "one of two relays paused past its lease")
		assert.Empty(t, l.stored)
		// The other relay posts them when their leases have ended, and the paused one
		// may do so again after a timeout: it believes in leases of a minute.
		assert.LessOrEqual(t, l.duplicates(), 2*posted, "no more than what the paused relay had posted")
	})
}

// startRelays starts apps that publish nothing.
func startRelays(t *testing.T, relays int, a app) []*process {
	t.Helper()
	a.Watched = true
	var running []*process
	for range relays {
		running = append(running, start(t, a))
	}
	return running
}

// awaitAll waits until so many different messages have arrived.
func awaitAll(t *testing.T, server *office, messages int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), byForm(20*time.Minute, patience))
	defer cancel()
	require.NoError(t, server.Wait(ctx, func() bool { return server.distinct() >= messages }))
}
