package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// busyStore notes how many records each insert has, and waits in it.
type busyStore struct {
	outbox.Keeper
	// wait is closed when inserts go on; nil if they need not wait.
	wait chan struct{}

	mu      sync.Mutex
	inserts []int
	claimed int
}

func (s *busyStore) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	s.mu.Lock()
	s.inserts = append(s.inserts, len(records))
	s.mu.Unlock()
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, record := range records {
		switch {
		case bytes.Contains(record.Payload, []byte("666")):
			return nil, errors.New("refused")
		case bytes.Contains(record.Payload, []byte("777")):
			panic("store")
		}
	}
	return s.Keeper.InsertNew(ctx, delay, records...)
}

func (s *busyStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	records, err := s.Keeper.Claim(ctx, options)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed += len(records)
	return records, err
}

// claims returns how many records were claimed.
func (s *busyStore) claims() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed
}

// A message goes to a worker at once, without a claim.
func TestInboxHandsOver(t *testing.T) {
	inBubbles(t, func(t *testing.T, keeper outbox.Keeper) {
		var seen calls
		store := &busyStore{Keeper: keeper}
		inbox := startedInbox(t, store, delivery.InboxOptions{MaxAttempts: 2})
		handler := queued(inbox, "orders", func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%d %s", m.Payload.ID, m.Attributes["region"])
			if m.Payload.ID == 3 {
				return errors.New("no")
			}
			return nil
		})
		begun := time.Now()
		for _, number := range []int{1, 2, 2, 3} {
			require.Equal(t, http.StatusNoContent, give(t, handler, number))
		}
		require.NoError(t, inbox.Flush(t.Context()))
		require.NoError(t, inbox.Flush(t.Context()), "nothing is left")
		assert.Zero(t, time.Since(begun), "neither the handler nor Flush waits for a poll")
		assert.ElementsMatch(t, []string{"1 north", "2 north", "3 north"}, seen.take())
		assert.Zero(t, store.claims())
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"3 north"}, seen.take(), "the first attempt counts")
		assert.Equal(t, 1, store.claims())
		assert.Equal(t, 1, statsOf(t, inbox).Dead)
	})
}

// What a process held that dies is handled by another one when the lease ends.
func TestInboxHeldByTheDead(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var seen calls
		dying := startedInbox(t, store, delivery.InboxOptions{Workers: 1})
		dead := make(chan struct{})
		handler := queued(dying, "orders", func(context.Context, delivery.Message[order]) error {
			<-dead
			return errors.New("dead")
		})
		for number := range 3 {
			require.Equal(t, http.StatusNoContent, give(t, handler, number+1))
		}
		other := startedInbox(t, store, delivery.InboxOptions{})
		queued(other, "orders", func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%d", m.Payload.ID)
			return nil
		})
		time.Sleep(2 * time.Minute)
		assert.ElementsMatch(t, []string{"1", "2", "3"}, seen.take())
		close(dead)
		time.Sleep(time.Minute)
		assert.Equal(t, outbox.Stats{}, statsOf(t, other))
		assert.Empty(t, seen.take())
	})
}

// A process holds few messages that wait. The others may go to another one.
func TestInboxHoldsFew(t *testing.T) {
	inBubbles(t, func(t *testing.T, store outbox.Keeper) {
		var seen calls
		work := make(chan struct{})
		inbox := startedInbox(t, store, delivery.InboxOptions{Workers: 2, WorkersPerTopic: 1})
		handle := func(_ context.Context, m delivery.Message[order]) error {
			<-work
			seen.add("%s %d", m.Topic, m.Payload.ID)
			return nil
		}
		handler, parcels := queued(inbox, "orders", handle), queued(inbox, "parcels", handle)
		for number := range 60 {
			require.Equal(t, http.StatusNoContent, give(t, handler, number+1))
			synctest.Wait()
		}
		assert.Equal(t, 17, statsOf(t, inbox).Held, "one in work and 16 that wait")
		require.Equal(t, http.StatusNoContent, give(t, parcels, 100))
		assert.Equal(t, 18, statsOf(t, inbox).Held, "another topic is not behind")
		close(work)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Len(t, seen.take(), 61)
		assert.Equal(t, outbox.Stats{}, statsOf(t, inbox))

		require.Equal(t, http.StatusNoContent, give(t, handler, 200))
		require.NoError(t, inbox.Flush(t.Context()))
		assert.Equal(t, []string{"orders 200"}, seen.take())
	})
}

// Requests that come while the store is busy share an insert. One that fails fails
// alone.
func TestInboxRequestsShareInserts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen calls
		store := &busyStore{Keeper: memory.New(), wait: make(chan struct{})}
		inbox := startedInbox(t, store, delivery.InboxOptions{})
		handler := queued(inbox, "orders", func(_ context.Context, m delivery.Message[order]) error {
			seen.add("%d", m.Payload.ID)
			return nil
		})
		var answers calls
		var asking sync.WaitGroup
		for _, number := range []int{1, 2, 3, 4, 666, 5, 4} {
			asking.Go(func() { answers.add("%d %d", number, give(t, handler, number)) })
			synctest.Wait()
		}
		assert.Equal(t, []int{1, 1}, store.inserts)
		close(store.wait)
		asking.Wait()
		assert.ElementsMatch(t, []string{"1 204", "2 204", "3 204", "4 204", "666 503", "5 204", "4 204"}, answers.take())
		assert.Equal(t, []int{1, 1, 5, 1, 1, 1, 1, 1}, store.inserts)
		require.NoError(t, inbox.Flush(t.Context()))
		assert.ElementsMatch(t, []string{"1", "2", "3", "4", "5"}, seen.take())

		assert.Equal(t, http.StatusServiceUnavailable, give(t, handler, 777), "a panic of the store")
		for number := range 300 { // what failed has left no reservation behind
			require.Equal(t, http.StatusServiceUnavailable, give(t, handler, 666000+number))
		}
		require.Equal(t, http.StatusNoContent, give(t, handler, 6))
		synctest.Wait()
		assert.Equal(t, []string{"6"}, seen.take())
		assert.Zero(t, store.claims())
	})
}

// A request that ends while it waits for others leaves, and one whose insert has
// begun waits for it, for as long as the store may take.
func TestInboxRequestsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &busyStore{Keeper: memory.New(), wait: make(chan struct{})}
		inbox := startedInbox(t, store, delivery.InboxOptions{})
		handler := queued(inbox, "orders", func(context.Context, delivery.Message[order]) error { return nil })
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		var answers calls
		var asking sync.WaitGroup
		for number := range 3 {
			asking.Go(func() {
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/consume", strings.NewReader(`{"id":1}`))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				answers.add("%d %d %s", number, w.Code, time.Since(begun))
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		assert.Equal(t, []string{"2 503 0s"}, answers.take())
		asking.Wait()
		assert.ElementsMatch(t, []string{"0 503 5s", "1 503 5s"}, answers.take())
		assert.Equal(t, []int{1, 1}, store.inserts)
		close(store.wait)
		require.Equal(t, http.StatusNoContent, give(t, handler, 10))
		require.NoError(t, inbox.Flush(t.Context()))
	})
}
