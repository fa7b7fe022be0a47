package core_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// forgetfulStore claims the same records again and again, as a database does whose
// clock is set forward by more than a lease between the claims.
type forgetfulStore struct {
	outbox.Store
	mu      sync.Mutex
	claimed []outbox.Record
	again   int // how often they are claimed once more
}

func (s *forgetfulStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	records, err := s.Store.Claim(ctx, options)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(records) > 0 {
		s.claimed = slices.Clone(records)
	} else if s.again > 0 && len(s.claimed) > 0 {
		s.again--
		records = slices.Clone(s.claimed)
	}
	return records, err
}

// What the relay posts at the moment it does not post once more, though its lease
// has ended early.
func TestRowsInHandArePostedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(post) verdict { return verdict{status: http.StatusCreated, after: 300 * time.Millisecond} }}
		store := &forgetfulStore{Store: memory.New(), again: 3}
		insertPayloads(t, store, "orders", kinds(100, 0))
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(time.Minute)
		arrivals, different := server.count("good")
		assert.Equal(t, []int{100, 100}, []int{arrivals, different})
		assert.Zero(t, stillStored(t, store))
		assert.Zero(t, store.again, "they were claimed again")
	})
}
