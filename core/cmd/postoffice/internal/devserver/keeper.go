package devserver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// store keeps records.
type store interface {
	save(ctx context.Context, changes postofficetest.Changes) error
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) save(context.Context, postofficetest.Changes) error { return nil }

// keeper writes the server's state to the store.
type keeper struct {
	operator *postofficetest.Operator
	journal  *postofficetest.Journal
	store    store
	logger   *slog.Logger

	asked atomic.Uint64 // counts the calls of flush

	mu      sync.Mutex
	served  uint64 // the last call whose changes are in the store
	failing bool
}

// flush writes all changes that were made before the call to the store. Concurrent
// calls share a write.
func (k *keeper) flush(ctx context.Context) error {
	if _, forgetful := k.store.(nowhere); forgetful {
		return nil
	}
	call := k.asked.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.served >= call {
		return nil
	}
	latest := k.asked.Load()
	if changes := k.journal.Changes(); !changes.None() {
		if err := k.store.save(ctx, changes); err != nil {
			k.journal = k.operator.Journal() // write the whole state next time
			if !k.failing {
				k.logger.Error("the development server cannot write its file", "error", err)
			}
			k.failing = true
			return err
		}
	}
	if k.failing {
		k.logger.Info("the development server can write its file again")
		k.failing = false
	}
	k.served = latest
	return nil
}

// retryStore is the delay before a retry after the store failed.
const retryStore = time.Second

// follow flushes after each change until the context ends.
func (k *keeper) follow(ctx context.Context) {
	// The wait ends with the context or the server.
	_ = k.operator.Follow(ctx, func() bool {
		for k.flush(context.WithoutCancel(ctx)) != nil {
			select {
			case <-time.After(retryStore):
			case <-ctx.Done():
				return true
			}
		}
		return false
	})
}
