package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestInboxOptionsAreChecked(t *testing.T) {
	for field, options := range map[string]delivery.InboxOptions{
		"Workers":         {Workers: -1},
		"WorkersPerTopic": {Workers: 2, WorkersPerTopic: 3},
		"Timeout":         {Timeout: -1},
		"MinBackoff":      {MinBackoff: -1},
		"MaxBackoff":      {MinBackoff: 2, MaxBackoff: 1},
		"Keep":            {Keep: -1},
	} {
		_, err := delivery.NewInbox(memory.New(), options)
		assert.ErrorContains(t, err, "InboxOptions."+field)
	}
	_, err := delivery.NewInbox(nil, delivery.InboxOptions{})
	require.ErrorContains(t, err, "store")
	_, err = delivery.NewInbox((*memory.Store)(nil), delivery.InboxOptions{})
	require.ErrorContains(t, err, "store")
}

func TestQueuedOptionsAreChecked(t *testing.T) {
	inbox := newInbox(t, memory.New(), delivery.InboxOptions{Timeout: time.Second})
	handle := func(context.Context, delivery.Message[order]) error { return nil }
	topic := delivery.WithTopic("orders")
	memory, err := delivery.NewMemory(10)
	require.NoError(t, err)
	for want, options := range map[string][]delivery.Option{
		"no name":           nil,
		"WithName":          {topic, delivery.WithName("")},
		"WithDeduplication": {topic, delivery.WithDeduplication(memory)},
		"WithLease":         {topic, delivery.WithLease(time.Second)},
		"WithKeep":          {topic, delivery.WithKeep(time.Second)},
		"WithTimeout":       {topic, delivery.WithTimeout(2 * time.Second)},
		"in the transaction of DoneTx": {topic, delivery.WithDeduplication(memory), delivery.WithLatest(
			func(delivery.Message[order]) string { return "" }, func(delivery.Message[order]) int64 { return 0 })},
	} {
		_, err := delivery.NewQueued(inbox, handle, options...)
		assert.ErrorContains(t, err, want)
	}
	_, err = delivery.NewQueued(nil, handle, topic)
	require.ErrorContains(t, err, "inbox is nil")
	_, err = delivery.NewQueued[order](inbox, nil, topic)
	require.ErrorContains(t, err, "function is nil")
	_, err = delivery.New(handle, delivery.WithName("orders"))
	require.ErrorContains(t, err, "WithName")

	_, err = delivery.NewQueued(inbox, handle, topic)
	require.NoError(t, err)
	_, err = delivery.NewQueued(inbox, handle, topic)
	require.ErrorContains(t, err, `already has a handler named "orders"`)
	_, err = delivery.NewQueued(inbox, handle, topic, delivery.WithName("orders-audit"))
	require.NoError(t, err, "another handler of the topic")
	assert.Panics(t, func() { delivery.Queued(inbox, handle, topic) })
}

// A message is acknowledged when it is stored, and handled afterwards.
func TestInboxHandlesAfterTheAnswer(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var seen calls
		goOn := make(chan struct{})
		inbox := startedInbox(t, store, delivery.InboxOptions{})
		handler := queued(inbox, "orders", func(ctx context.Context, m delivery.Message[order]) error {
			<-goOn
			deadline, _ := ctx.Deadline()
			seen.add("%d %s %s %v %v", m.Payload.ID, m.ID, m.Topic, m.Attributes, time.Until(deadline))
			return nil
		})
		assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
		synctest.Wait()
		assert.Empty(t, seen.take())
		stats := statsOf(t, inbox)
		assert.Equal(t, 1, stats.Pending)
		assert.Equal(t, 1, stats.Held)
		close(goOn)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"7 7 orders map[region:north] 30s"}, seen.take())
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))
	})
}

// A copy is acknowledged and not handled: while the message waits, while it is
// handled, and for Keep afterwards.
func TestInboxHandlesACopyOnce(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		const keep = time.Hour
		var seen, events calls
		goOn := make(chan struct{})
		inbox := startedInbox(t, store, delivery.InboxOptions{Keep: keep, Observer: delivery.Observer{
			Stored:    func(e delivery.Event) { events.add("stored %s", e.Topic) },
			Duplicate: func(e delivery.Event) { events.add("duplicate %s", e.Topic) },
		}})
		handler := queued(inbox, "orders", func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%d", m.Payload.ID)
			<-goOn
			return nil
		})
		for range 3 {
			assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
			synctest.Wait()
		}
		close(goOn)
		require.NoError(t, inbox.Flush(t.Context()))
		time.Sleep(keep - time.Minute)
		assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"7"}, seen.take())
		assert.Equal(t, []string{"stored orders", "duplicate orders", "duplicate orders", "duplicate orders"}, events.take())
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))

		time.Sleep(3 * time.Minute) // the key is forgotten, or the store would grow for ever
		assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"7"}, seen.take())
	})
}

// Copies are told apart by the publisher's id, and other messages by the server's
// and their bodies.
func TestInboxKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen calls
		inbox := startedInbox(t, memory.New(), delivery.InboxOptions{})
		note := func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%s %d", m.Topic, m.Payload.ID)
			return nil
		}
		handler := queued(inbox, "orders", note)
		long := strings.Repeat("x", 300)
		for number, body := range []string{
			1: `{"id":1,"attributes":{"message_id":"a"}}`,
			2: `{"id":1,"attributes":{"message_id":"a"}}`, // a copy with another id of the server
			3: `{"id":2,"attributes":{"message_id":"` + long + `"}}`,
			4: `{"id":2,"attributes":{"message_id":"` + long + `"}}`,
			5: `{"id":3,"attributes":{"message_id":"` + long + `y"}}`,
		} {
			if body != "" {
				assert.Equal(t, http.StatusNoContent, giveBody(t, handler, number, body))
			}
		}
		require.NoError(t, inbox.Flush(t.Context()))
		assert.ElementsMatch(t, []string{"orders 1", "orders 2", "orders 3"}, seen.take())

		give(t, handler, 6)
		giveBody(t, handler, 6, `{"id":7}`)        // the server has a new database, and ids begin again
		give(t, queued(inbox, "parcels", note), 6) // another consumer
		giveBody(t, handler, 0, `{"id":8}`)        // nothing to tell copies by
		giveBody(t, handler, 0, `{"id":8}`)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.ElementsMatch(t, []string{"orders 6", "orders 7", "parcels 6", "orders 8", "orders 8"}, seen.take())
	})
}

func TestInboxRefusesWhatHandlerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.WithMaxRecords(1))
		inbox := newInbox(t, store, delivery.InboxOptions{})
		var reported problems
		handler := queued(inbox, "orders", func(ctx context.Context, _ delivery.Message[order]) error {
			<-ctx.Done()
			return nil
		}, delivery.WithOnError(reported.add), delivery.WithConsumer(core.Consumer{Topic: "orders", Target: "http://user:secret@app/consume", Timeout: time.Second}))
		assert.Equal(t, http.StatusUnauthorized, give(t, handler, 1))

		reported.take()
		handler = queued(inbox, "parcels", func(ctx context.Context, _ delivery.Message[order]) error {
			<-ctx.Done()
			return nil
		}, delivery.WithOnError(reported.add))
		assert.Equal(t, http.StatusServiceUnavailable, give(t, handler, 1), "not started")
		require.ErrorIs(t, reported.take()[0].Err, delivery.ErrNotStarted)
		require.ErrorIs(t, inbox.Flush(t.Context()), delivery.ErrNotStarted)
		require.NoError(t, inbox.Start(t.Context()))
		require.NoError(t, inbox.Start(t.Context()), "again")

		assert.Equal(t, http.StatusBadRequest, giveBody(t, handler, 1, `{"id":"seven"}`))
		assert.Equal(t, delivery.NotDecoded, reported.take()[0].Kind)
		assert.Equal(t, http.StatusNoContent, give(t, handler, 1))
		assert.Equal(t, http.StatusServiceUnavailable, give(t, handler, 2), "full")
		problem := reported.take()[0]
		assert.Equal(t, delivery.NotStored, problem.Kind)
		require.ErrorIs(t, problem.Err, outbox.ErrFull)
		assert.Equal(t, http.StatusNoContent, give(t, handler, 1), "a copy needs no capacity")
		assert.Equal(t, 1, statsOf(t, inbox).Pending)

		stop, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, inbox.Stop(stop))
		assert.Equal(t, http.StatusServiceUnavailable, give(t, handler, 3), "stopped")
		require.ErrorIs(t, reported.take()[0].Err, delivery.ErrStopped)
		require.ErrorIs(t, inbox.Start(t.Context()), delivery.ErrStopped)
		require.ErrorIs(t, inbox.Flush(t.Context()), delivery.ErrStopped)
	})
}

// A store that cannot be used is told by Start.
func TestInboxStartFailsFast(t *testing.T) {
	store := memory.New()
	require.NoError(t, store.Close())
	inbox := newInbox(t, store, delivery.InboxOptions{})
	require.ErrorIs(t, inbox.Start(t.Context()), outbox.ErrClosed)
}

// A message whose function fails is handled again after growing pauses, and becomes
// dead in the end. A person can have it handled once more.
func TestInboxRetriesAndBuries(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var events calls
		var log bytes.Buffer
		inbox := startedInbox(t, store, delivery.InboxOptions{
			MaxAttempts: 4, MinBackoff: time.Second, MaxBackoff: 2 * time.Second,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Observer: delivery.Observer{
				Handled: func(e delivery.Event) { events.add("handled %s %d %v", e.Name, e.Attempts, e.Err) },
				Dead:    func(e delivery.Event) { events.add("dead %s %v", e.Topic, e.Err) },
			},
		})
		var reported problems
		fails := true
		handler := queued(inbox, "orders", func(context.Context, delivery.Message[order]) error {
			if fails {
				return errors.New("no stock")
			}
			return nil
		}, delivery.WithOnError(reported.add))
		begun := time.Now()
		require.Equal(t, http.StatusNoContent, give(t, handler, 7))
		for statsOf(t, inbox).Dead == 0 {
			require.Less(t, time.Since(begun), time.Minute)
			time.Sleep(10 * time.Millisecond)
		}
		assert.Less(t, time.Since(begun), 1500*time.Millisecond+2*2*time.Second+time.Second, "pauses are bounded")
		assert.Equal(t, []string{
			"handled orders 1 no stock", "handled orders 2 no stock", "handled orders 3 no stock", "handled orders 4 no stock", "dead orders no stock",
		}, events.take())
		list := reported.take()
		require.Len(t, list, 4)
		assert.Equal(t, 4, list[3].Attempts)
		assert.Contains(t, log.String(), "messages of the inbox are dead")

		state := outbox.Dead
		dead, err := store.List(t.Context(), outbox.Query{State: &state})
		require.NoError(t, err)
		require.Len(t, dead, 1)
		assert.Equal(t, "no stock", dead[0].LastError)
		require.Equal(t, http.StatusNoContent, give(t, handler, 7))
		assert.Equal(t, 1, statsOf(t, inbox).Dead, "a copy of a dead message is acknowledged")

		fails = false
		_, err = store.Retry(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		time.Sleep(3 * time.Second) // until the inbox looks again
		assert.Equal(t, []string{"handled orders 5 <nil>"}, events.take())
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))
	})
}

// What a function discards is dead at once, with its error.
func TestInboxDiscardedIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		inbox := startedInbox(t, store, delivery.InboxOptions{})
		give(t, queued(inbox, "orders", func(context.Context, delivery.Message[order]) error {
			return fmt.Errorf("wrapped: %w", delivery.Discard(errors.New("unknown customer")))
		}), 7)
		require.NoError(t, inbox.Flush(t.Context()))
		list, err := store.List(t.Context(), outbox.Query{})
		require.NoError(t, err)
		assert.Equal(t, outbox.Dead, list[0].State)
		assert.Equal(t, "wrapped: discarded: unknown customer", list[0].LastError)
		assert.Equal(t, 1, list[0].Attempts)
	})
}

// A panic fails the message and nothing else. Its value, which may be a part of the
// payload, is not stored.
func TestInboxCatchesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		inbox := startedInbox(t, store, delivery.InboxOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour, Observer: delivery.Observer{
			Stored: func(delivery.Event) { panic("observer") },
			Handle: func(context.Context, delivery.HandleCall) (context.Context, func(error)) { panic("observer") },
		}})
		var log bytes.Buffer
		handler := queued(inbox, "orders", func(_ context.Context, m delivery.Message[order]) error {
			switch m.Payload.ID {
			case 1:
				panic("secret")
			case 2:
				panic(http.ErrAbortHandler)
			}
			var list []int
			return fmt.Errorf("%d", list[m.Payload.ID])
		}, delivery.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for number := range 3 {
			require.Equal(t, http.StatusNoContent, give(t, handler, number+1))
			require.NoError(t, inbox.Flush(t.Context()))
		}
		list, err := store.List(t.Context(), outbox.Query{})
		require.NoError(t, err)
		require.Len(t, list, 3)
		assert.Equal(t, "panic of type string; the log has its stack", list[0].LastError)
		assert.Equal(t, "panic of type *errors.errorString; the log has its stack", list[1].LastError)
		assert.Equal(t, "panic: runtime error: index out of range [3] with length 0; the log has its stack", list[2].LastError)
		assert.Contains(t, log.String(), "inbox_test.go", "the stack")
	})
}

// A topic whose functions do not return leaves workers to others.
func TestInboxSlowTopicHoldsUpNoOther(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		inbox := startedInbox(t, store, delivery.InboxOptions{Workers: 4, WorkersPerTopic: 4, Timeout: time.Hour})
		running := make(chan struct{}, 100)
		slow := queued(inbox, "slow", func(ctx context.Context, _ delivery.Message[order]) error {
			running <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		for n := range 20 {
			require.Equal(t, http.StatusNoContent, give(t, slow, n+1))
		}
		synctest.Wait()
		assert.Len(t, running, 3, "one worker is left for another topic")
		var seen calls
		quick := queued(inbox, "quick", func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%d", m.Payload.ID)
			return nil
		})
		for n := range 20 {
			require.Equal(t, http.StatusNoContent, give(t, quick, n+1))
		}
		synctest.Wait()
		assert.Len(t, seen.take(), 20)
		stop, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, inbox.Stop(stop))
	})
}

// No more functions run than there are workers, in all and by topic.
func TestInboxWorkersAreBounded(t *testing.T) {
	for options, want := range map[struct{ all, topic int }]int{
		{1, 1}: 1, {2, 0}: 1, {3, 2}: 2, {8, 8}: 7, {8, 3}: 3,
	} {
		synctest.Test(t, func(t *testing.T) {
			inbox := startedInbox(t, memory.New(), delivery.InboxOptions{Workers: options.all, WorkersPerTopic: options.topic, Timeout: 10 * time.Second})
			running := make(chan struct{}, 100)
			var done calls
			handler := queued(inbox, "orders", func(context.Context, delivery.Message[order]) error {
				running <- struct{}{}
				time.Sleep(time.Second)
				<-running
				done.add("done")
				return nil
			})
			for n := range 40 {
				require.Equal(t, http.StatusNoContent, give(t, handler, n+1))
			}
			synctest.Wait()
			assert.Len(t, running, want, "%+v", options)
			require.NoError(t, inbox.Flush(t.Context()))
			assert.Len(t, done.take(), 40)
		})
	}
}

// The context of a function ends, and the message is handled again. A function that
// goes on is waited for, and its message is not handled beside it.
func TestInboxDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := startedInbox(t, memory.New(), delivery.InboxOptions{Timeout: 10 * time.Second})
		var seen calls
		var attempts atomic.Int64
		begun := time.Now()
		handler := queued(inbox, "orders", func(ctx context.Context, m delivery.Message[order]) error {
			if m.Payload.ID == 2 { // ignores its context, and the end of the lease
				time.Sleep(5 * time.Minute)
				seen.add("late")
				return nil
			}
			<-ctx.Done()
			seen.add("%v %v", ctx.Err(), time.Since(begun))
			if attempts.Add(1) == 2 {
				return nil
			}
			return ctx.Err()
		}, delivery.WithTimeout(time.Second))
		give(t, handler, 1)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"context deadline exceeded 1s"}, seen.take())
		time.Sleep(10 * time.Second)
		assert.Len(t, seen.take(), 1, "it is handled once more, and done")
		give(t, handler, 2)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Contains(t, strings.Join(seen.take(), ","), "late")
	})
}

// Stop waits for functions, ends their contexts when its own ends, and leaves the
// messages in the store.
func TestInboxStops(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var seen calls
		handle := func(ctx context.Context, m delivery.Message[order]) error {
			select {
			case <-time.After(time.Duration(m.Payload.ID) * time.Second):
				seen.add("%d done", m.Payload.ID)
				return nil
			case <-ctx.Done():
				seen.add("%d %v", m.Payload.ID, ctx.Err())
				return ctx.Err()
			}
		}
		options := delivery.InboxOptions{Workers: 4, Timeout: time.Minute}
		inbox := startedInbox(t, store, options)
		handler := queued(inbox, "orders", handle)
		for _, number := range []int{2, 20, 21, 22} {
			give(t, handler, number)
			synctest.Wait()
		}
		begun := time.Now()
		stop, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, inbox.Stop(stop))
		assert.Equal(t, 10*time.Second, time.Since(begun))
		assert.Equal(t, []string{"2 done", "20 context canceled"}, seen.take())
		assert.Equal(t, 3, statsOf(t, inbox).Pending)
		assert.Equal(t, 0, statsOf(t, inbox).Held, "the others need not wait for leases")

		next := startedInbox(t, store, options)
		queued(next, "orders", handle)
		time.Sleep(time.Minute)
		assert.ElementsMatch(t, []string{"20 done", "21 done", "22 done"}, seen.take())
		assert.Equal(t, outbox.Stats{}, statsOf(t, next))
	})
}

// A function that ignores the end of its context does not hold up Stop for ever.
func TestInboxStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := startedInbox(t, memory.New(), delivery.InboxOptions{})
		give(t, queued(inbox, "orders", func(context.Context, delivery.Message[order]) error {
			time.Sleep(30 * time.Second)
			return nil
		}), 1)
		synctest.Wait()
		stop, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := inbox.Stop(stop)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 functions still run")
	})
}

// During a rolling deployment a process finds messages that only another one has a
// function for.
func TestInboxLeavesUnknownMessagesToOthers(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var seen calls
		var log bytes.Buffer
		handle := func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%s %d", m.Topic, m.Payload.ID)
			return nil
		}
		newer := newInbox(t, store, delivery.InboxOptions{})
		handler := queued(newer, "parcels", handle)
		older := startedInbox(t, store, delivery.InboxOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		orders := queued(older, "orders", handle)

		require.NoError(t, newer.Start(t.Context()))
		for n := range 10 {
			require.Equal(t, http.StatusNoContent, give(t, handler, n+1))
			require.Equal(t, http.StatusNoContent, give(t, orders, n+1))
		}
		time.Sleep(2 * time.Minute)
		assert.Len(t, seen.take(), 20)
		assert.Equal(t, outbox.Stats{}, statsOf(t, newer))

		stop, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, newer.Stop(stop))
		require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{
			ID: "left", Topic: "parcels", Payload: []byte(`{"id":100}`), Attributes: []byte(`{}`),
		}))
		time.Sleep(5 * time.Minute)
		require.NoError(t, older.Flush(t.Context()))
		assert.Empty(t, seen.take())
		assert.Contains(t, log.String(), "without a handler")
		list, err := store.List(t.Context(), outbox.Query{})
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.LessOrEqual(t, list[0].Attempts, 1, "it was not tried: at most it is claimed at the moment")
		assert.Empty(t, list[0].LastError)
		queued(older, "parcels", handle) // as after the deployment
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"parcels 100"}, seen.take())
	})
}

// The context has what the observer and WithContext add.
func TestInboxContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		var seen calls
		inbox := startedInbox(t, memory.New(), delivery.InboxOptions{Observer: delivery.Observer{
			Handle: func(ctx context.Context, call delivery.HandleCall) (context.Context, func(error)) {
				seen.add("begin %s %s %s %d %v", call.Topic, call.Name, call.ID, call.Attempts, call.Attributes)
				return context.WithValue(ctx, name{}, fmt.Sprint(ctx.Value(name{}), " span")), func(err error) { seen.add("end %v", err) }
			},
		}})
		give(t, queued(inbox, "orders", func(ctx context.Context, _ delivery.Message[order]) error {
			seen.add("%v", ctx.Value(name{}))
			return delivery.DoneTx(ctx, nil)
		}, delivery.WithName("billing"), delivery.WithContext(func(ctx context.Context, attributes map[string]string) context.Context {
			return context.WithValue(ctx, name{}, attributes["region"])
		})), 7)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{
			"begin orders billing 7 1 map[region:north]", "north span",
			"end delivery: no deduplicator or inbox that supports transactions: the store of the inbox is *memory.Store",
		}, seen.take())
	})
}
