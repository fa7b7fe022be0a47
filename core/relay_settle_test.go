package core_test

import (
	"context"
	"net/http"
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

// slowOutbox takes a second to delete.
type slowOutbox struct{ outbox.Store }

func (s slowOutbox) Delete(ctx context.Context, ids ...string) (int, error) {
	time.Sleep(time.Second)
	return s.Store.Delete(ctx, ids...)
}

// Of posts that are settled together, the one that was refused tells why.
func TestDeadMessagesSettledWithOthersHaveTheirError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			if p.has(`"orders":15`) {
				return verdict{status: http.StatusBadRequest}
			}
			return taken
		}}
		store := slowOutbox{memory.New()}
		insertSingles(t, store, "orders", 16)
		var seen events
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, Observer: seen.observer()})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(10 * time.Second)
		dead := seen.of("dead")
		require.Len(t, dead, 1)
		require.ErrorContains(t, dead[0].Err, "400")
		assert.Equal(t, 1, dead[0].Messages)
	})
}

// The relay learns when a message is due again that it has posted in vain.
func TestRetryOfTheRelayComesWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Bool
		server := &bubbleServer{judge: func(post) verdict {
			if !failed.Swap(true) {
				return verdict{status: http.StatusInternalServerError}
			}
			return taken
		}}
		store := memory.New()
		insertSingles(t, store, "orders", 1)
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(backoffBase + time.Millisecond)
		_, arrived := server.count("orders")
		assert.Equal(t, 1, arrived)
	})
}

// lateOutbox is a node of a cluster that gets to know a row late: the first delete
// does not find it.
type lateOutbox struct {
	outbox.Store
	deletes atomic.Int32
}

func (s *lateOutbox) Delete(ctx context.Context, ids ...string) (int, error) {
	if s.deletes.Add(1) == 1 {
		return 0, nil
	}
	return s.Store.Delete(ctx, ids...)
}

// Warnings implements [outbox.Warner].
func (s *lateOutbox) Warnings(context.Context) []string { return []string{"a node is late."} }

func TestRowsThatADeleteDoesNotFindAreDeletedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{}
		store := &lateOutbox{Store: memory.New()}
		insert(t, store, "orders", 3)
		var log logText
		client := newTestClient(t, core.Config{
			URL: "http://postoffice.test", HTTPClient: &http.Client{Transport: server}, Outbox: store, Logger: log.logger(),
		})
		require.NoError(t, client.Start(t.Context()))
		assert.Contains(t, log.String(), "a node is late.")
		synctest.Wait()
		assert.Equal(t, 3, stillStored(t, store))
		time.Sleep(10 * time.Second) // the lease has not ended yet
		assert.Zero(t, stillStored(t, store))
		arrivals, _ := server.count("")
		assert.Equal(t, 3, arrivals)
		deletes := store.deletes.Load()
		time.Sleep(time.Minute)
		assert.Equal(t, deletes, store.deletes.Load(), "and then no more")
	})
}
