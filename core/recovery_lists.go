package core

import (
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of the leases of recovery lists.
const (
	// recoveryLease is how long a listed message is not listed again, and not
	// posted by the relay: from the list, and from each DELETE that shows that
	// the run of the server's rescuer goes on. A run that has ended, or whose
	// server has died, holds up nothing for longer.
	recoveryLease = time.Minute
	// recoveryRenew is how much of a lease has to be left for a DELETE to
	// leave it alone, so that not each of them writes to the outbox.
	recoveryRenew = 45 * time.Second
	// recoveryLists is how many lists are remembered. The server asks twice a
	// minute for each of its nodes.
	recoveryLists = 100
)

// listed remembers the recovery lists that were given out and whose leases have
// not ended. The zero value is ready to use.
type listed struct {
	mu    sync.Mutex
	lists []*recoveryList // the oldest first
}

// recoveryList is a list that a run of the server's rescuer goes through.
type recoveryList struct {
	// tokens are those of the claim, by the ids of the messages that are left.
	tokens map[string]string
	// until is when the lease ends.
	until time.Time
}

// add remembers a list whose lease ends at a point in time.
func (l *listed) add(records []outbox.Record, until time.Time) {
	if len(records) == 0 {
		return
	}
	list := &recoveryList{tokens: make(map[string]string, len(records)), until: until}
	for _, record := range records {
		list.tokens[record.ID] = record.LeaseToken
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	if len(l.lists) == recoveryLists {
		l.lists = l.lists[1:]
	}
	l.lists = append(l.lists, list)
}

// forget drops lists whose leases have ended. The caller holds the mutex.
func (l *listed) forget() {
	now := time.Now()
	kept := l.lists[:0]
	for _, list := range l.lists {
		if list.until.After(now) && len(list.tokens) > 0 {
			kept = append(kept, list)
		}
	}
	clear(l.lists[len(kept):])
	l.lists = kept
}

// taken strikes a message off its list, and renews the lease of the others on
// it when that ends soon.
func (l *listed) taken(id string, renew func(...outbox.Change) error) {
	list, changes, until := l.strike(id)
	if len(changes) == 0 || renew(changes...) == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list.until = until // the next DELETE tries again
}

// strike strikes a message off its list. It returns what renews the lease of
// the others, if that ends soon, and when it ends without that.
func (l *listed) strike(id string) (list *recoveryList, changes []outbox.Change, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	for _, list := range l.lists {
		if _, found := list.tokens[id]; !found {
			continue
		}
		delete(list.tokens, id)
		until = list.until
		if time.Until(until) > recoveryRenew {
			return list, nil, until
		}
		for id, token := range list.tokens {
			changes = append(changes, outbox.Change{ID: id, LeaseToken: token, After: recoveryLease, Hold: true})
		}
		list.until = time.Now().Add(recoveryLease)
		return list, changes, until
	}
	return nil, nil, until
}
