package relay

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of rows that are handed over.
const (
	// handedPerSlot is how many rows may be handed over and wait, per slot.
	handedPerSlot = 16
	// handedBytes is the maximum size of these rows.
	handedBytes = 32 << 20
)

// handed holds rows that were inserted under a lease of this process and handed
// to the relay in memory, which saves a claim. The zero value is ready to use.
type handed struct {
	mu     sync.Mutex
	closed bool
	// rows, bytes and topics count the rows that were reserved and have no slot
	// yet.
	rows   int
	bytes  int64
	topics map[string]int
	// behind are the topics with rows in the store that nobody holds. Those
	// rows come first.
	behind map[string]bool
	// list are the rows that the dispatcher has not accepted yet.
	list []outbox.Record
	// until is when the first of them must have begun.
	until time.Time
}

// Reserve reports whether the caller may insert a row under a lease of
// [Relay.Lease] and then hand it over. The caller must call [Relay.Hand], or
// [Relay.Forgo] if it did not insert the row. If Reserve returns false, the
// caller inserts the row without a lease, for a claim: too many rows wait for
// slots, or other rows of the topic wait in the store.
func (r *Relay) Reserve(topic string, bytes int64) bool {
	h := &r.handed
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed, h.behind[topic]:
		return false
	case h.rows >= handedPerSlot*r.Slots, h.topics[topic] >= handedPerSlot*r.PerTopic, h.rows > 0 && h.bytes+bytes > handedBytes:
		h.lag(topic)
		return false
	}
	h.count(topic, 1, bytes)
	return true
}

// Forgo releases the reservation of a row that was not inserted.
func (r *Relay) Forgo(topic string, bytes int64) {
	r.handed.mu.Lock()
	defer r.handed.mu.Unlock()
	r.handed.count(topic, -1, -bytes)
}

// Hand hands over inserted rows that have a reservation and are leased since
// the given time. If the relay has ended, it gives them back to the store.
func (r *Relay) Hand(ctx context.Context, leased time.Time, records ...outbox.Record) {
	if len(records) == 0 {
		return
	}
	until := r.PostUntil(leased)
	h := &r.handed
	h.mu.Lock()
	closed := h.closed
	if !closed {
		if len(h.list) == 0 || until.Before(h.until) {
			h.until = until
		}
		h.list = append(h.list, records...)
	}
	h.mu.Unlock()
	if closed {
		r.Settler.giveBack(ctx, records)
		return
	}
	select {
	case r.handing <- struct{}{}:
	default:
	}
}

// lag records that the store has rows of a topic that nobody holds. The mutex
// must be held.
func (h *handed) lag(topic string) {
	if h.behind == nil {
		h.behind = map[string]bool{}
	}
	h.behind[topic] = true
}

// count adds rows. The mutex must be held.
func (h *handed) count(topic string, rows int, bytes int64) {
	if h.topics == nil {
		h.topics = map[string]int{}
	}
	h.rows, h.bytes = h.rows+rows, h.bytes+bytes
	if h.topics[topic] += rows; h.topics[topic] == 0 {
		delete(h.topics, topic)
	}
}

// accept adds the rows that were handed over to their topics.
func (d *dispatcher) accept() {
	h := &d.handed
	h.mu.Lock()
	records, until := h.list, h.until
	h.list = nil
	h.mu.Unlock()
	if len(records) == 0 {
		return
	}
	taken := d.Settler.take(slices.Clone(records))
	if len(taken) < len(records) { // a clock that was set forward ended leases early
		own := map[string]bool{}
		for _, record := range taken {
			own[record.ID] = true
		}
		for _, record := range records {
			if !own[record.ID] {
				d.Forgo(record.Topic, record.Size())
			}
		}
	}
	slices.SortStableFunc(taken, func(a, b outbox.Record) int {
		switch {
		case a.Topic < b.Topic:
			return -1
		case a.Topic > b.Topic:
			return 1
		}
		return 0
	})
	for len(taken) > 0 {
		n := ofOneTopic(taken)
		d.add(taken[:n], until, true)
		taken = taken[n:]
	}
}

// begun releases the reservations of rows that have a slot or were given back.
func (d *dispatcher) begun(t *topic, g *group, lag bool) {
	if d.Handle == nil || !g.handed && !lag {
		return
	}
	d.handed.mu.Lock()
	defer d.handed.mu.Unlock()
	if g.handed {
		d.handed.count(t.name, -len(g.records), -sizeOf(g.records))
	}
	if lag && len(g.records) > 0 {
		d.handed.lag(t.name)
	}
}

// caughtUp records which topics have no more due rows in the store, after a
// claim that did not reach its limit.
func (d *dispatcher) caughtUp(skipped []string) {
	d.handed.mu.Lock()
	defer d.handed.mu.Unlock()
	maps.DeleteFunc(d.handed.behind, func(name string, _ bool) bool {
		t := d.topics[name]
		return !slices.Contains(skipped, name) && (t == nil || !t.more)
	})
}

// closeHanded makes Hand give rows back to the store from now on.
func (d *dispatcher) closeHanded() {
	d.handed.mu.Lock()
	defer d.handed.mu.Unlock()
	d.handed.closed = true
}
