package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// fullPoll is how often a call that waits asks a full outbox for room.
const fullPoll = 100 * time.Millisecond

// load is what messages need of an outbox: their number and their bytes.
type load struct{ messages, bytes int }

// loadOf measures the messages of a batch.
func loadOf(b batch) load {
	l := load{messages: len(b.payloads)}
	for i, payload := range b.payloads {
		l.bytes += len(b.topic) + len(payload) + len(b.attributesOf(i))
	}
	return l
}

// loadOfRecords measures records.
func loadOfRecords(records []outbox.Record) load {
	l := load{messages: len(records)}
	for _, record := range records {
		l.bytes += int(record.Size())
	}
	return l
}

// within tells whether a load needs no more than another one.
func (l load) within(other load) bool { return l.messages <= other.messages && l.bytes <= other.bytes }

// waitingRoom holds the calls that wait for room in a full outbox. A call waits
// behind another one only if it needs at least as much: that a larger one does
// not fit says nothing about it. Of the calls that wait for each other the
// first asks the outbox, and the others wait for it to leave.
type waitingRoom struct {
	waiting atomic.Int32 // how many calls wait

	mu     sync.Mutex
	askers []*waiter
}

// waiter is a call that waits for room.
type waiter struct {
	room *waitingRoom
	load load
	// turn is closed when the call may ask the outbox.
	turn chan struct{}
	// ahead is the asker that the call waits behind; nil for an asker.
	ahead  *waiter
	behind []*waiter
}

// blocks tells whether somebody waits already who needs no more.
func (r *waitingRoom) blocks(l load) bool {
	if r.waiting.Load() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.askerFor(l, nil) != nil
}

// askerFor finds an asker, other than the excluded one, that needs no more.
func (r *waitingRoom) askerFor(l load, excluded *waiter) *waiter {
	for _, asker := range r.askers {
		if asker != excluded && asker.load.within(l) {
			return asker
		}
	}
	return nil
}

// join adds a call that does not fit now. It must leave in the end.
func (r *waitingRoom) join(l load) *waiter {
	r.waiting.Add(1)
	w := &waiter{room: r, load: l, turn: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place(w)
	return w
}

// place has a call wait behind an asker, or makes it one. The mutex is held.
func (r *waitingRoom) place(w *waiter) {
	if w.ahead = r.askerFor(w.load, nil); w.ahead != nil {
		w.ahead.behind = append(w.ahead.behind, w)
		return
	}
	r.askers = append(r.askers, w)
	close(w.turn)
}

// leave ends the wait. Those who waited behind the call move up.
func (w *waiter) leave() {
	r := w.room
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

// without returns the waiters but for one of them.
func without(waiters []*waiter, w *waiter) []*waiter {
	i := slices.Index(waiters, w)
	return slices.Delete(waiters, i, i+1)
}

// mayAsk tells whether the call asks the outbox now: it is an asker, and no
// smaller one has come since.
func (w *waiter) mayAsk() bool {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	return w.ahead == nil && w.room.askerFor(w.load, w) == nil
}

// wait asks the outbox for room, when it is the call's turn and then at
// intervals, until the answer is another than that it is full, patience ends
// or the client is stopped.
func (w *waiter) wait(patience, stopping context.Context, ask func() error) error {
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
	case <-stopping.Done():
		return gaveUp()
	}
	ticker := time.NewTicker(fullPoll)
	defer ticker.Stop()
	for {
		if w.mayAsk() {
			if full = ask(); !waitsForRoom(full) {
				return full
			}
		}
		select {
		case <-ticker.C:
		case <-patience.Done():
			return gaveUp()
		case <-stopping.Done():
			return gaveUp()
		}
	}
}

// waitsForRoom tells whether waiting can help against an error of the outbox.
func waitsForRoom(err error) bool {
	return errors.Is(err, outbox.ErrFull) && !errors.Is(err, outbox.ErrNeverFits)
}
