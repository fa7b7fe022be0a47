package core_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// insertsStore counts the calls to Insert.
type insertsStore struct {
	outbox.Store
	inserts atomic.Int32
}

func (s *insertsStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.inserts.Add(1)
	return s.Store.Insert(ctx, delay, records...)
}

func TestFullOutboxIsWaitedForUntilTheCallerGivesUp(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New(memory.WithMaxRecords(1))
				insert(t, store, "orders", 1)
				client := newTestClient(t, core.Config{
					URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store,
					Batching: core.Batching{MaxMessages: 1},
				})
				p := publisherIn(t, client, mode)
				if mode == core.Memory {
					queueN(t, p, 1, core.Queued)
				}
				for _, name := range []string{"deadline", "cancelled"} {
					ctx, cancel := context.WithCancel(t.Context())
					if name == "deadline" {
						ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
					} else {
						time.AfterFunc(time.Minute, cancel)
					}
					start := time.Now()
					_, err := p.Publish(ctx, "orders", struct{}{})
					cancel()
					require.ErrorIs(t, err, core.ErrNotAccepted)
					require.ErrorIs(t, err, core.ErrOutboxFull)
					require.ErrorIs(t, err, context.Cause(ctx))
					assert.Equal(t, time.Minute, time.Since(start))
				}
				_, err := store.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
			})
		})
	}
}

func TestFullOutboxIsWaitedForUntilThereIsRoom(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &insertsStore{Store: memory.New(memory.WithMaxRecords(10))}
				insert(t, store, "bills", 10)
				client := newTestClient(t, core.Config{
					URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store,
					Batching: core.Batching{MaxMessages: 1},
				})
				p := publisherIn(t, client, mode)
				if mode == core.Memory {
					queueN(t, p, 1, core.Queued)
				}
				const callers = 10
				accepted := make(chan error, callers)
				for range callers {
					go func() {
						receipt, err := p.Publish(t.Context(), "orders", struct{}{})
						if mode == core.Memory && receipt.State == core.Queued {
							receipt.State = core.Stored // it was, once it was too old
						}
						assert.Equal(t, core.Stored, receipt.State)
						accepted <- err
					}()
				}
				time.Sleep(time.Minute)
				assert.Empty(t, accepted)
				polls := int(time.Minute / fullPoll)
				if mode == core.Memory { // the message in memory is too old
					polls += int(time.Minute / commitPauseMax)
				}
				assert.LessOrEqual(t, int(store.inserts.Load()), 4*callers+polls, "only one of those who wait asks")
				before := store.inserts.Load()
				var newcomers sync.WaitGroup
				for range 100 * callers {
					newcomers.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), core.DefaultTimeout+fullPoll)
						defer cancel()
						_, err := p.Publish(ctx, "orders", struct{}{})
						assert.ErrorIs(t, err, core.ErrOutboxFull)
					})
				}
				newcomers.Wait()
				if mode != core.Durable { // which asks before it posts
					assert.LessOrEqual(t, int(store.inserts.Load()-before), callers, "newcomers do not ask")
				}
				_, err := store.Discard(t.Context(), outbox.Selection{Topic: "bills"})
				require.NoError(t, err)
				for range callers {
					require.NoError(t, <-accepted)
				}
				assert.Len(t, records(t, store), callers)
				// So that the message in memory has room when the client stops.
				_, err = store.Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
				isServedAtOnce(t, p)
			})
		})
	}
}

// isServedAtOnce checks that a call does not wait for capacity in an outbox that
// has some: nobody is in its way.
func isServedAtOnce(t *testing.T, p *core.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), core.DefaultTimeout+time.Millisecond) // which a post may take
	defer cancel()
	_, err := p.Publish(ctx, "orders", struct{}{})
	assert.NoError(t, err)
}

// meetingStore has an Insert wait for another one.
type meetingStore struct {
	outbox.Store
	both *sync.WaitGroup
}

func (s meetingStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.both.Done()
	s.both.Wait()
	return s.Store.Insert(ctx, delay, records...)
}

func TestOutboxWithRoomIsNotQueuedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := meetingStore{memory.New(), new(sync.WaitGroup)}
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		store.both.Add(2)
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				assert.NoError(t, err)
			})
		}
		callers.Wait()
	})
}

func TestStopEndsTheWaitForAFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.WithMaxRecords(1))
		insert(t, store, "orders", 1)
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store})
		failed := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				failed <- err
			}()
		}
		time.Sleep(time.Minute)
		require.NoError(t, client.Stop(t.Context()))
		for range 2 {
			err := <-failed
			require.ErrorIs(t, err, core.ErrOutboxFull)
			require.ErrorIs(t, err, core.ErrClosed)
		}
	})
}

// waitForRoom runs a test of calls that find too little room in an outbox, for
// a client whose server refuses everything.
func waitForRoom(t *testing.T, room memory.Option, test func(t *testing.T, store *insertsStore, client *core.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &insertsStore{Store: memory.New(room)}
		var over atomic.Bool
		client := newTestClient(t, core.Config{
			URL: testServer, Outbox: store, Batching: core.Batching{MaxMessages: 1},
			HTTPClient: &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				if !over.Load() {
					return nil, errors.New("refused")
				}
				return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
			})},
		})
		test(t, store, client)
		over.Store(true) // what is left in memory is delivered when the client stops
	})
}

func TestWhatFitsDoesNotWaitForWhatIsLarger(t *testing.T) {
	waitForRoom(t, memory.WithMaxRecords(1000), func(t *testing.T, store *insertsStore, client *core.Client) {
		insert(t, store, "bills", 500)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		bulk := later(func() error {
			_, err := client.PublishBulk(ctx, "orders", numbered(600))
			return err
		})
		time.Sleep(time.Second)
		begun := time.Now()
		for range 5 {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		}
		_, err := client.PublishBulk(t.Context(), "orders", numbered(400))
		require.NoError(t, err)
		assert.Zero(t, time.Since(begun), "there is capacity for them")
		err = <-bulk
		require.ErrorIs(t, err, core.ErrOutboxFull)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestWhatIsNotSmallerWaitsInItsTurn(t *testing.T) {
	waitForRoom(t, memory.WithMaxRecords(10), func(t *testing.T, store *insertsStore, client *core.Client) {
		insert(t, store, "bills", 10)
		bulk := func(n int) <-chan error {
			return later(func() error {
				_, err := client.PublishBulk(t.Context(), "orders", numbered(n))
				return err
			})
		}
		five, eight, six, two := bulk(5), bulk(8), bulk(6), bulk(2)
		free := func(n int) {
			list := records(t, store)
			for _, record := range list[:n] {
				_, err := store.Delete(t.Context(), record.ID)
				require.NoError(t, err)
			}
			time.Sleep(2 * fullPoll)
			synctest.Wait()
		}
		free(2)
		require.NoError(t, <-two)
		free(5)
		require.NoError(t, <-five)
		free(6)
		require.NoError(t, <-six)
		assert.Empty(t, eight)
		free(8)
		require.NoError(t, <-eight)
		_, err := store.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		isServedAtOnce(t, publisherIn(t, client, core.Off))
	})
}

func TestWhatNeverFitsIsRefusedAtOnce(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		waitForRoom(t, memory.WithMaxBytes(1<<20), func(t *testing.T, store *insertsStore, client *core.Client) {
			p := publisherIn(t, client, mode)
			if mode == core.Memory { // so that there is no capacity in memory either
				queueN(t, p, 1, core.Queued)
			}
			begun := time.Now()
			large := later(func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := p.Publish(ctx, "orders", map[string]string{"large": strings.Repeat("x", 2<<20)})
				return err
			})
			for range 5 {
				_, err := p.Publish(t.Context(), "orders", struct{}{})
				require.NoError(t, err)
			}
			err := <-large
			if mode == core.Memory { // memory has room once the first message is stored
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, outbox.ErrNeverFits)
				require.ErrorIs(t, err, core.ErrNotAccepted)
				assert.Less(t, time.Since(begun), time.Second)
			}
			_, err = client.PublishBulk(t.Context(), "orders", []any{struct{}{}, map[string]string{"large": strings.Repeat("x", 2<<20)}})
			require.ErrorIs(t, err, outbox.ErrNeverFits)
		})
	}
}

func TestThoseWhoGiveUpAreForgotten(t *testing.T) {
	waitForRoom(t, memory.WithMaxRecords(1), func(t *testing.T, store *insertsStore, client *core.Client) {
		insert(t, store, "bills", 1)
		patient := later(func() error {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			return err
		})
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := client.Publish(ctx, "orders", struct{}{})
			cancel()
			require.ErrorIs(t, err, core.ErrOutboxFull)
		}
		asked := store.inserts.Load()
		time.Sleep(time.Minute)
		assert.InDelta(t, time.Minute/fullPoll, store.inserts.Load()-asked, 1, "only the one that still waits asks")
		_, err := store.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		require.NoError(t, <-patient)

		// Nor are they in the way of who waits later.
		next := later(func() error {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			return err
		})
		_, err = store.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		require.NoError(t, <-next)
	})
}
