package devserver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// store is where records are kept.
type store interface {
	save(ctx context.Context, changes postofficetest.Changes) error
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) save(context.Context, postofficetest.Changes) error { return nil }

// keeper writes what the server holds into the store.
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

// flush returns when everything that the server held when it was called is in
// the store. Calls that come together share the work.
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
			k.journal = k.operator.Journal() // all of it next time
			if !k.failing {
				k.logger.Error("the development server cannot keep what it holds", "error", err)
			}
			k.failing = true
			return err
		}
	}
	if k.failing {
		k.logger.Info("the development server keeps what it holds again")
		k.failing = false
	}
	k.served = latest
	return nil
}

// retryStore is how long the keeper waits after the store failed.
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
