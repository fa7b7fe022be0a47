package core

import (
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Leases of recovery lists.
const (
	// recoveryLease is how long a listed message is neither listed again nor
	// posted by the relay, counted from the list and from each DELETE of the
	// same run of the server's rescuer. It bounds how long a run that ended or
	// crashed blocks its messages.
	recoveryLease = time.Minute
	// recoveryRenew is the remaining lease above which a DELETE does not renew
	// it, to avoid a write to the outbox with every DELETE.
	recoveryRenew = 45 * time.Second
	// recoveryLists is the maximum number of remembered lists. The server
	// requests two lists a minute for each of its nodes.
	recoveryLists = 100
)

// listed remembers the recovery lists whose leases have not ended. The zero
// value is ready to use.
type listed struct {
	mu    sync.Mutex
	lists []*recoveryList // the oldest first
}

// recoveryList is a list that a run of the server's rescuer processes.
type recoveryList struct {
	// tokens maps the ids of the remaining messages to their lease tokens.
	tokens map[string]string
	// until is when the lease ends.
	until time.Time
}

// add remembers a list and the end of its lease.
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

// forget drops lists whose leases have ended. The mutex must be held.
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

// taken removes a message from its list, and renews the lease of the remaining
// messages if it ends soon.
func (l *listed) taken(id string, renew func(...outbox.Change) error) {
	list, changes, until := l.strike(id)
	if len(changes) == 0 || renew(changes...) == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list.until = until // the next DELETE tries again
}

// strike removes a message from its list. It returns the changes that renew the
// lease of the remaining messages, if it ends soon, and the end of the lease
// without them.
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
