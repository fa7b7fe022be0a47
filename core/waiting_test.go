package core_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// later runs a call in the background, until it waits.
func later(call func() error) (result <-chan error) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	synctest.Wait()
	return done
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
		assert.Zero(t, time.Since(begun), "there is room for them")
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
			if mode == core.Memory { // so that there is no room in memory either
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
