package core_test

import (
	"context"
	"fmt"
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

// hangingOutbox hangs on Reschedule when told to.
type hangingOutbox struct {
	outbox.Store
	hangs atomic.Bool
}

func (s *hangingOutbox) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return s.Store.Reschedule(ctx, changes...)
}

// Stop gives back the rows of all topics together, so an outbox that hangs does
// not hold it up once for each.
func TestStopWithAnOutboxThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusCreated, after: time.Second}
		}}
		store := &hangingOutbox{Store: memory.New()}
		for i := range 100 {
			insertSingles(t, store, fmt.Sprintf("topic-%d", i), 1)
		}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store, Timeout: 5 * time.Second})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(500 * time.Millisecond)
		store.hangs.Store(true)
		began := time.Now()
		require.NoError(t, client.Stop(t.Context()))
		assert.LessOrEqual(t, time.Since(began), 3*storeTimeout)
	})
}
