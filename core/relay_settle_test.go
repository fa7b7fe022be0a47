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
