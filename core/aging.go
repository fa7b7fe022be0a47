package core

import (
	"errors"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of the commits of what is in memory.
const (
	// commitMessages and commitBytes bound what one commit takes.
	commitMessages = 2000
	commitBytes    = 4_000_000
	// commitPauseMin and commitPauseMax bound the pause after a failed commit.
	commitPauseMin = 50 * time.Millisecond
	commitPauseMax = time.Second
)

// errAged is why messages in memory are stored that may yet be delivered.
var errAged = errors.New("not delivered within half of Batching.MaxAge")

// ager is the state of what commits messages before they are too old. The
// batcher's mutex guards it.
type ager struct {
	wake chan struct{}
	// armed tells that the ager looks at the batches soon by itself.
	armed bool
	// pressed tells that callers wait for room and a commit is to be measured.
	pressed bool
	sampled time.Time
	// failures counts the failed commits in a row, err is the last one's, and
	// after is when the next one may begin.
	failures int
	err      error
	after    time.Time
}

// rouse has the ager look at the batches now.
func (a *ager) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// expect has the ager look at the batches soon.
func (a *ager) expect() {
	if !a.armed {
		a.armed = true
		a.rouse()
	}
}

// press has the ager measure a commit, unless it has done so a moment ago.
func (a *ager) press() {
	if time.Since(a.sampled) >= sampleAge {
		a.pressed = true
		a.rouse()
	}
}

// note takes the outcome of a commit.
func (a *ager) note(err error) {
	now := time.Now()
	a.sampled, a.pressed, a.err = now, false, err
	if err == nil {
		a.failures, a.after = 0, time.Time{}
		return
	}
	a.after = now.Add(min(commitPauseMin<<min(a.failures, 10), commitPauseMax))
	a.failures++
}

// age commits batches to the outbox, before they are older than
// Batching.MaxAge, until the batcher is closed and empty. They are held there,
// and go on to be posted from memory.
func (b *batcher) age() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for i := range b.lanes {
			b.lanes[i].sealOld()
		}
		group, pause, done := b.takeOld()
		switch {
		case done:
			return
		case len(group) > 0:
			b.commit(group)
			continue
		case pause >= 0:
			timer.Reset(pause)
		}
		select {
		case <-timer.C:
		case <-b.ager.wake:
			timer.Stop()
		}
	}
}

// takeOld returns batches to commit now, or how long to wait for the next;
// less than zero if there is nothing to wait for.
func (b *batcher) takeOld() (group []*parcel, pause time.Duration, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing && len(b.unfinished) == 0 {
		return nil, 0, true
	}
	a, now := &b.ager, time.Now()
	a.armed = b.aging.Len() > 0
	if !a.armed {
		return nil, -1, false
	}
	if left := a.after.Sub(now); left > 0 {
		return nil, left, false
	}
	pause = -1
	messages, bytes := 0, 0
	for e := b.aging.Front(); e != nil; e = e.Next() {
		p := e.Value.(*parcel)
		if p.committing || p.concluding || p.neverFits {
			continue
		}
		if left := b.batching.MaxAge/2 - now.Sub(p.opened); left > 0 && (!a.pressed || !p.ready || len(group) > 0) {
			pause = left
			break
		} else if !p.ready {
			continue // it is about to be sealed
		}
		if len(group) > 0 && (messages+p.messages > commitMessages || bytes+p.bytes > commitBytes) {
			break
		}
		messages, bytes = messages+p.messages, bytes+p.bytes
		p.committing = true
		group = append(group, p)
	}
	if len(group) == 0 && pause < 0 {
		pause = b.batching.MaxAge / 2 // for what is in hand elsewhere
	}
	return group, pause, false
}

// ageless takes a batch off the list of those that may be in memory alone. The
// mutex is held.
func (b *batcher) ageless(p *parcel) {
	if p.age != nil {
		b.aging.Remove(p.age)
		p.age = nil
	}
}

// commit stores batches, held by the batcher's token, in one insert. Those
// whose post has ended meanwhile are concluded.
func (b *batcher) commit(group []*parcel) {
	began := time.Now()
	err := b.insertHeld(group...)
	if errors.Is(err, outbox.ErrNeverFits) && len(group) > 1 {
		for _, p := range group {
			b.commit([]*parcel{p})
		}
		return
	}
	took := time.Since(began)
	var posted []*parcel
	var committed load
	b.mu.Lock()
	for _, p := range group {
		p.committing = false
		if err == nil {
			b.giveUpRetry(p)
		}
		if p.posted != nil {
			p.concluding = true
			posted = append(posted, p)
		}
		if err != nil {
			p.neverFits = errors.Is(err, outbox.ErrNeverFits)
			continue
		}
		b.holds(p, began)
		committed.messages += p.messages
		committed.bytes += p.bytes
	}
	if err == nil || !errors.Is(err, outbox.ErrNeverFits) {
		b.ager.note(err)
	}
	if err == nil {
		b.allowance.learn(committed, took)
		b.announceRoom()
	}
	b.mu.Unlock()
	b.tellCommitted(group, err)
	for _, p := range posted {
		b.conclude(p, p.posted)
	}
}

// giveUpRetry leaves a batch that waits to be posted again, and is in the outbox
// now, to the relay. The mutex is held.
func (b *batcher) giveUpRetry(p *parcel) {
	timer, waits := b.retries[p]
	if !waits {
		return
	}
	timer.Stop()
	delete(b.retries, p)
	p.posted = &delivery{client: b.client, batch: p.batch, errs: make([]*failure, len(p.errs))}
	for i, f := range p.errs {
		told := *f
		told.untried = f.class != permanent // the failure is in the row, and was told
		p.posted.errs[i] = &told
	}
}

// holds notes that the rows of a batch are in the outbox, with a lease since
// then. The mutex is held.
func (b *batcher) holds(p *parcel, since time.Time) {
	p.held, p.leased = true, since
	b.ageless(p)
	b.safe.count(p.messages, p.bytes)
	p.settle()
}

// insertHeld inserts batches into the outbox, held by the batcher's token. The
// ids of the rows stay the same when it is repeated.
func (b *batcher) insertHeld(group ...*parcel) error {
	var records []outbox.Record
	for _, p := range group {
		p.unpack()
		rows, err := p.batch.records()
		if err != nil {
			return err
		}
		if p.ids == nil {
			p.ids = ids(rows)
		}
		for i := range rows {
			rows[i].ID, rows[i].LeaseToken = p.ids[i], b.token
			rows[i].Attempts = p.attempts + 1 // the last by which it is posted from memory
			if p.errs != nil {
				rows[i].LastError = p.errs[i].Error()
			}
		}
		records = append(records, rows...)
	}
	c := b.client
	return c.guard("storing messages", func() error { return c.insertNow(c.hard, c.relay.lease(), records) })
}

// tellCommitted notes the outcome of a commit.
func (b *batcher) tellCommitted(group []*parcel, err error) {
	c := b.client
	if err != nil {
		c.log.error("age", "", "messages wait in memory alone for longer than they should: the outbox cannot take them", "error", err)
		return
	}
	for _, p := range group {
		topic := p.key.topic
		c.log.warn("aged", topic, "the server is slow: messages are stored in the outbox until it has taken them", "topic", topic, "messages", p.messages)
		c.throughput.add(0, p.messages, 0)
		emit(c.cfg.observer.Stored, Event{Topic: topic, Messages: p.messages, Err: errAged})
	}
}

// atRisk tells how many messages are in memory alone, for how long the oldest
// has been, and why the last commit failed, if it did.
func (b *batcher) atRisk() (messages int, age time.Duration, err error) {
	held, _ := b.held()
	safe, _ := b.safe.load()
	messages = max(held-safe, 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := b.aging.Front()
	if oldest == nil {
		return messages, 0, b.ager.err
	}
	return messages, time.Since(oldest.Value.(*parcel).opened), b.ager.err
}
