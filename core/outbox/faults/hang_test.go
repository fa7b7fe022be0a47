//go:build unix

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// hangers is how many goroutines publish while a database hangs.
const hangers = 32

// calls are the times of calls that publish.
type calls struct {
	times    []time.Duration
	accepted []string // ids of messages
	errs     []error
	took     time.Duration // all together
}

// publishing publishes from many goroutines for a time.
func publishing(ctx context.Context, p *core.Publisher, run string, length time.Duration) calls {
	var mu sync.Mutex
	var all calls
	var group sync.WaitGroup
	start := time.Now()
	for i := range hangers {
		group.Go(func() {
			for n := 0; time.Since(start) < length; n++ {
				id, began := fmt.Sprintf("%s-%d-%d", run, i, n), time.Now()
				_, err := p.Publish(ctx, topic, newPayload(id))
				took := time.Since(began)
				mu.Lock()
				if all.times = append(all.times, took); err == nil {
					all.accepted = append(all.accepted, id)
				} else {
					all.errs = append(all.errs, err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	all.took = time.Since(start)
	slices.Sort(all.times)
	return all
}

// perSecond returns the throughput, and p99 the time that 99 of 100 calls do not
// exceed.
func (c calls) perSecond() float64 { return float64(len(c.times)) / c.took.Seconds() }

func (c calls) p99() time.Duration { return c.times[len(c.times)*99/100] }

// TestDatabaseHangs stops the database server by a signal under an app that
// publishes with Durable: connections stay open, and nothing is answered. From the
// second second on Publish is about as fast as without an outbox, and soon after
// the database continues, messages are stored again.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		length := byForm(10*time.Second, 2*time.Second)
		database := k.server(t)
		place, server, l := database.Create(t), newOffice(t), newLedger()
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		client, err := core.NewClient(core.Config{URL: server.URL(), Outbox: store, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, client.Start(t.Context()))
		publisher := func(mode core.Mode) (p *core.Publisher) {
			require.NoError(t, client.Serve(nil, nil, core.Options{AfterResponse: mode}, func(_ http.ResponseWriter, r *http.Request) error {
				p = core.MustFromContext(r.Context())
				return nil
			}))
			return p
		}
		accept := func(c calls) {
			assert.Empty(t, c.errs)
			for _, id := range c.accepted {
				l.accepted[id] = true
			}
		}
		off := publishing(t.Context(), publisher(core.Off), "off", length)
		well := publishing(t.Context(), publisher(core.Durable), "well", length)
		database.Pause(t)
		first := publishing(t.Context(), publisher(core.Durable), "first", time.Second)
		hanging := publishing(t.Context(), publisher(core.Durable), "hanging", length)
		assert.NotEqual(t, core.BreakerClosed, client.Stats().OutboxBreaker)
		database.Continue(t)
		back := time.Now()
		until(t, func() bool {
			receipt, err := publisher(core.Durable).Publish(t.Context(), topic, newPayload(fmt.Sprint("back-", time.Now())))
			return err == nil && receipt.State == core.Stored
		}, "messages are stored again")
		again := time.Since(back)
		for _, c := range []calls{off, well, first, hanging} {
			accept(c)
		}
		require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
		require.NoError(t, closeStore())
		drain(t, k, place, server, time.Second)
		l.arrive(server)
		look(t, k, place, l)
		l.report(t, "calls a second: %.0f without an outbox, %.0f Durable, %.0f in the first second, %.0f later; p99 %v, %v, %v, %v; stored again after %v",
			off.perSecond(), well.perSecond(), first.perSecond(), hanging.perSecond(),
			off.p99(), well.p99(), first.p99(), hanging.p99(), again.Round(time.Millisecond))
		assert.Empty(t, l.stored)
		assert.LessOrEqual(t, again, 5*time.Second)
	})
}
