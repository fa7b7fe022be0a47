package queue

import (
	"errors"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of commits from memory.
const (
	// commitMessages and commitBytes bound one commit.
	commitMessages = 2000
	commitBytes    = 4_000_000
	// commitPauseMin and commitPauseMax bound the pause after a failed commit.
	commitPauseMin = 50 * time.Millisecond
	commitPauseMax = time.Second
)

// ager is the state of the goroutine that commits messages before they are too
// old. Guarded by the queue's mutex.
type ager struct {
	wake chan struct{}
	// armed means that the goroutine will wake up in time for the next batch.
	armed bool
	// pressed means that callers wait for capacity and the duration of a commit
	// must be measured.
	pressed bool
	sampled time.Time
	// failures counts the consecutive failed commits, err is the error of the
	// last one, and after is the earliest time of the next one.
	failures int
	err      error
	after    time.Time
}

// wakeUp makes the goroutine check the batches now.
func (a *ager) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// expect wakes the goroutine if it does not already wait for a batch.
func (a *ager) expect() {
	if !a.armed {
		a.armed = true
		a.wakeUp()
	}
}

// press requests a commit to measure its duration, unless the last measurement
// is younger than sampleAge.
func (a *ager) press() {
	if time.Since(a.sampled) >= sampleAge {
		a.pressed = true
		a.wakeUp()
	}
}

// note records the outcome of a commit.
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

// commitOld commits batches to the outbox before they are older than MaxAge,
// until the queue is closed and empty. The queue keeps the lease of the rows
// and still posts the batches from memory.
func (q *Queue) commitOld() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for i := range q.shards {
			q.shards[i].sealOld()
		}
		group, pause, done := q.takeOld()
		switch {
		case done:
			return
		case len(group) > 0:
			q.commit(group)
			continue
		case pause >= 0:
			timer.Reset(pause)
		}
		select {
		case <-timer.C:
		case <-q.ager.wake:
			timer.Stop()
		}
	}
}

// takeOld returns the batches to commit now, or how long to wait for the next
// ones; a negative pause means that there is nothing to wait for.
func (q *Queue) takeOld() (group []*entry, pause time.Duration, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing && len(q.unfinished) == 0 {
		return nil, 0, true
	}
	a, now := &q.ager, time.Now()
	a.armed = q.aging.Len() > 0
	if !a.armed {
		return nil, -1, false
	}
	if left := a.after.Sub(now); left > 0 {
		return nil, left, false
	}
	pause = -1
	maxMessages, maxBytes := q.allowance.commit()
	messages, bytes := 0, 0
	for element := q.aging.Front(); element != nil; element = element.Next() {
		e := element.Value.(*entry)
		if e.committing || e.concluding || e.neverFits {
			continue
		}
		if left := q.config.MaxAge/2 - now.Sub(e.opened); left > 0 && (!a.pressed || !e.ready || len(group) > 0) {
			pause = left
			break
		} else if !e.ready {
			continue // it will be sealed soon
		}
		if len(group) > 0 && (messages+e.messages > maxMessages || bytes+e.bytes > maxBytes) {
			break
		}
		messages, bytes = messages+e.messages, bytes+e.bytes
		e.committing = true
		group = append(group, e)
	}
	if len(group) == 0 && pause < 0 {
		pause = q.config.MaxAge / 2 // other goroutines may still add batches
	}
	return group, pause, false
}

// stopAging removes a batch from the list of batches that may be in memory
// alone. The mutex must be held.
func (q *Queue) stopAging(e *entry) {
	if e.age != nil {
		q.aging.Remove(e.age)
		e.age = nil
	}
}

// commit stores batches in one insert, leased with the queue's token. It
// concludes batches whose post ended before the insert did.
func (q *Queue) commit(group []*entry) {
	began := time.Now()
	err := q.insertHeld(group...)
	if errors.Is(err, outbox.ErrNeverFits) && len(group) > 1 {
		for _, e := range group {
			q.commit([]*entry{e})
		}
		return
	}
	took := time.Since(began)
	var posted []*entry
	messages, bytes := 0, 0
	q.mu.Lock()
	for _, e := range group {
		e.committing = false
		if err == nil {
			q.giveUpRetry(e)
		}
		if e.posted != nil {
			e.concluding = true
			posted = append(posted, e)
		}
		if err != nil {
			e.neverFits = errors.Is(err, outbox.ErrNeverFits)
			continue
		}
		q.holds(e, began)
		messages, bytes = messages+e.messages, bytes+e.bytes
	}
	if err == nil || !errors.Is(err, outbox.ErrNeverFits) {
		q.ager.note(err)
	}
	if err == nil {
		q.allowance.learn(messages, bytes, took)
		q.announce()
	}
	q.mu.Unlock()
	q.reportCommitted(group, err)
	for _, e := range posted {
		q.conclude(e, e.posted)
	}
}

// giveUpRetry leaves a batch that waits for a retry to the relay, because the
// batch is in the outbox now. The mutex must be held.
func (q *Queue) giveUpRetry(e *entry) {
	timer, waits := q.retries[e]
	if !waits {
		return
	}
	timer.Stop()
	delete(q.retries, e)
	e.posted = untried(e.failures)
}

// holds records that the rows of a batch are in the outbox, leased since the
// given time. The mutex must be held.
func (q *Queue) holds(e *entry, since time.Time) {
	e.held, e.leased = true, since
	q.stopAging(e)
	q.safe.count(e.messages, e.bytes)
	e.settle()
}

// insertHeld inserts batches into the outbox, leased with the queue's token. A
// repeated insert uses the same IDs.
func (q *Queue) insertHeld(group ...*entry) error {
	held := make([]Held, len(group))
	for i, e := range group {
		e.close()
		if err := e.batch.GiveIDs(); err != nil {
			return err
		}
		e.unsure = true
		held[i] = Held{Batch: &e.batch, Attempts: e.attempts + 1, Failures: e.failures}
	}
	return q.config.Outbox.Commit(q.config.Force, held)
}

// reportCommitted reports the outcome of a commit.
func (q *Queue) reportCommitted(group []*entry, err error) {
	if err != nil {
		q.config.Log.Error("age", "", "messages stay only in memory for too long: the outbox cannot store them", "error", err)
		return
	}
	for _, e := range group {
		q.config.Tell.Aged(e.key.topic, e.messages)
	}
}
