package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// fullPoll is how often a waiting call polls a full outbox for capacity.
const fullPoll = 100 * time.Millisecond

// load is the capacity that messages need in an outbox.
type load struct{ messages, bytes int }

// loadOf measures the messages of a batch.
func loadOf(b *message.Batch) load { return load{messages: len(b.Messages), bytes: b.Size()} }

// loadOfRecords measures records.
func loadOfRecords(records []outbox.Record) load {
	l := load{messages: len(records)}
	for _, record := range records {
		l.bytes += int(record.Size())
	}
	return l
}

// within reports whether a load needs no more than another one in each
// dimension.
func (l load) within(other load) bool { return l.messages <= other.messages && l.bytes <= other.bytes }

// waitlist holds the calls that wait for capacity in a full outbox. A call
// waits behind another one only if it needs at least as much capacity, because
// a smaller message may fit where a larger one does not. Of the calls that wait
// behind each other, the first one, the asker, polls the outbox; the others
// wait for it to leave.
type waitlist struct {
	waiting atomic.Int32 // number of waiting calls

	mu     sync.Mutex
	askers []*waiter
}

// waiter is a call that waits for capacity.
type waiter struct {
	list *waitlist
	load load
	// turn is closed when the call may poll the outbox.
	turn chan struct{}
	// ahead is the asker that the call waits behind; nil for an asker itself.
	ahead  *waiter
	behind []*waiter
}

// blocks reports whether a call that needs no more than the load is waiting.
func (r *waitlist) blocks(l load) bool {
	if r.waiting.Load() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.askerFor(l, nil) != nil
}

// askerFor returns an asker that needs no more than the load, other than the
// excluded one.
func (r *waitlist) askerFor(l load, excluded *waiter) *waiter {
	for _, asker := range r.askers {
		if asker != excluded && asker.load.within(l) {
			return asker
		}
	}
	return nil
}

// join adds a call that does not fit now. The caller must call leave.
func (r *waitlist) join(l load) *waiter {
	r.waiting.Add(1)
	w := &waiter{list: r, load: l, turn: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place(w)
	return w
}

// place makes a call wait behind an asker, or makes it an asker. The mutex must
// be held.
func (r *waitlist) place(w *waiter) {
	if w.ahead = r.askerFor(w.load, nil); w.ahead != nil {
		w.ahead.behind = append(w.ahead.behind, w)
		return
	}
	r.askers = append(r.askers, w)
	close(w.turn)
}

// leave ends the wait. The calls behind it move up.
func (w *waiter) leave() {
	r := w.list
	r.waiting.Add(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.ahead != nil {
		w.ahead.behind = without(w.ahead.behind, w)
		return
	}
	r.askers = without(r.askers, w)
	for _, follower := range w.behind {
		r.place(follower)
	}
	w.behind = nil
}

// without returns the waiters except for one.
func without(waiters []*waiter, w *waiter) []*waiter {
	i := slices.Index(waiters, w)
	return slices.Delete(waiters, i, i+1)
}

// mayAsk reports whether the call may poll the outbox now: it is an asker, and
// no smaller one has joined since.
func (w *waiter) mayAsk() bool {
	w.list.mu.Lock()
	defer w.list.mu.Unlock()
	return w.ahead == nil && w.list.askerFor(w.load, w) == nil
}

// next returns the channels to wait on before the next poll: the turn, or a
// timer if it is already the call's turn. Both are nil for a nil waiter.
func (w *waiter) next() (turn <-chan struct{}, again <-chan time.Time) {
	if w == nil {
		return nil, nil
	}
	select {
	case <-w.turn:
		return nil, time.After(fullPoll)
	default:
		return w.turn, nil
	}
}

// wait polls the outbox when it is the call's turn and then at intervals. It
// ends when the outbox is no longer full, patience ends or the client is
// stopped.
func (w *waiter) wait(patience context.Context, stopping <-chan struct{}, ask func() error) error {
	full := outbox.ErrFull
	gaveUp := func() error {
		if patience.Err() != nil {
			return errors.Join(full, context.Cause(patience))
		}
		return errors.Join(full, inner{ErrClosed})
	}
	select {
	case <-w.turn:
	case <-patience.Done():
		return gaveUp()
	case <-stopping:
		return gaveUp()
	}
	ticker := time.NewTicker(fullPoll)
	defer ticker.Stop()
	for {
		if w.mayAsk() {
			if full = ask(); !waitsForCapacity(full) {
				return full
			}
		}
		select {
		case <-ticker.C:
		case <-patience.Done():
			return gaveUp()
		case <-stopping:
			return gaveUp()
		}
	}
}

// waitsForCapacity reports whether waiting can resolve an error of the outbox.
func waitsForCapacity(err error) bool {
	return errors.Is(err, outbox.ErrFull) && !errors.Is(err, outbox.ErrNeverFits)
}
