package core

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of the relay.
const (
	// relayParallel is how many groups of messages are posted at a time.
	relayParallel = 4
	// relayPoll is how often the outbox is looked at without being told, for
	// messages that another process has stored in it.
	relayPoll = 2 * time.Second
	// expectMin is how soon after PublishTx the outbox is looked at, and half
	// the time to the next look.
	expectMin = time.Millisecond
	// relayLease is the least time for which messages are claimed.
	relayLease = time.Minute
	// lockedPause is how long what is due, and cannot be claimed, is left
	// alone.
	lockedPause = 200 * time.Millisecond
	// relayErrorMax bounds the pause after an error of the outbox: a database
	// that is back is to be noticed within seconds.
	relayErrorMax = 3 * time.Second
	// storeTries is how often a result is written to the outbox in a row.
	storeTries = 3
)

// relay delivers what is in the outbox. It claims messages that are due,
// posts those alike together, deletes what the server took and gives the
// rest back with a pause that grows with the attempts. It holds no
// transaction while posting, and what it claimed comes back by itself if the
// process dies.
type relay struct {
	client *Client
	store  outbox.Store
	bell   chan struct{}

	mu sync.Mutex
	// soon is how long to wait before the next look for what a transaction
	// may have committed; zero when none is expected.
	soon time.Duration
	// settled holds the ids of delivered messages that could not be deleted
	// yet.
	settled map[string]bool
}

func newRelay(client *Client, store outbox.Store) *relay {
	return &relay{client: client, store: store, bell: make(chan struct{}, 1), settled: map[string]bool{}}
}

// wake has the relay look at the outbox now. It never blocks, and does
// nothing without an outbox.
func (r *relay) wake() {
	if r == nil {
		return
	}
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// expect has the relay look for a message that a transaction is about to
// commit: at once, and then less and less often.
func (r *relay) expect() {
	r.mu.Lock()
	r.soon = expectMin
	r.mu.Unlock()
	r.wake()
}

// expected bounds a pause while a transaction's messages are expected.
func (r *relay) expected(pause time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.soon == 0 {
		return pause
	}
	pause = min(pause, r.soon)
	if r.soon *= 2; r.soon >= relayPoll {
		r.soon = 0
	}
	return pause
}

// run delivers until stopping is done. Posts under way go on until they end
// or until hard is done.
func (r *relay) run(stopping, hard context.Context) {
	failures := 0
	for stopping.Err() == nil {
		var pause time.Duration
		err := r.client.guard("the relay", func() (err error) {
			pause, err = r.step(stopping, hard)
			return err
		})
		if err != nil {
			if stopping.Err() != nil {
				return
			}
			failures++
			pause = min(backoff(failures), relayErrorMax)
			r.client.log.error("outbox", "", "the outbox cannot be used; messages in it wait", "error", err)
		} else {
			failures = 0
		}
		if pause <= 0 {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-stopping.Done():
		case <-timer.C:
		case <-r.bell:
		}
		timer.Stop()
	}
}

// step delivers what is due now, and tells how long to wait before the next.
func (r *relay) step(stopping, hard context.Context) (time.Duration, error) {
	if err := r.deleteSettled(stopping); err != nil {
		return 0, err
	}
	limit := r.client.cfg.bulkLimit * relayParallel
	switch r.client.transport.breaker.state() {
	case BreakerOpen:
		return breakerPause / 4, nil
	case BreakerHalfOpen:
		limit = 1
	}
	claimed := time.Now()
	lease := r.lease()
	asking, cancel := context.WithTimeout(stopping, storeTimeout)
	defer cancel()
	records, err := r.store.Claim(asking, outbox.ClaimOptions{Limit: limit, MaxBytes: bulkBytes * relayParallel, Lease: lease})
	if err != nil {
		return 0, err
	}
	if len(records) == 0 {
		next, ok, err := r.store.Next(asking)
		if err != nil || !ok {
			return r.expected(relayPoll), err
		}
		if next <= 0 {
			next = lockedPause // somebody's transaction has locked it
		}
		return r.expected(min(next, relayPoll)), nil
	}
	// A request must end while the lease still holds its messages.
	if !r.deliver(hard, records, claimed.Add(lease-r.margin())) {
		return breakerPause / 4, nil // the breaker let nothing through
	}
	return 0, nil
}

// lease is for how long messages are claimed: long enough to begin more
// requests than one before the margin.
func (r *relay) lease() time.Duration { return max(relayLease, 2*r.margin()) }

// margin is how long before the end of a lease the last request may begin: the
// longest request, and the time to store its outcome.
func (r *relay) margin() time.Duration { return r.client.transport.maxTime() + storeTimeout }

// group is records that may share a request.
type group struct {
	batch   batch
	records []outbox.Record
}

// deliver posts claimed records and writes down what became of them. It
// tells whether any was tried.
func (r *relay) deliver(ctx context.Context, records []outbox.Record, deadline time.Time) bool {
	groups := groupRecords(r.unsettled(records))
	var workers sync.WaitGroup
	var tried atomic.Bool
	slots := make(chan struct{}, relayParallel)
	for _, g := range groups {
		slots <- struct{}{}
		workers.Go(func() {
			defer func() { <-slots }()
			d := &delivery{client: r.client, batch: g.batch, records: g.records, deadline: deadline, givenUp: ctx.Err}
			r.client.post(ctx, d)
			r.settle(ctx, g, d, true)
			if slices.ContainsFunc(d.errs, func(f *failure) bool { return f == nil || !f.untried }) {
				tried.Store(true)
			}
		})
	}
	workers.Wait()
	return tried.Load()
}

// settleHeld is settle for messages that were stored and posted from memory,
// held by the token.
func (r *relay) settleHeld(ctx context.Context, p *parcel, d *delivery, token string) {
	g := &group{batch: p.batch, records: make([]outbox.Record, len(p.ids))}
	for i, id := range p.ids {
		g.records[i] = outbox.Record{ID: id, LeaseToken: token, Attempts: 1}
	}
	r.settle(ctx, g, d, false)
	if len(failedIndexes(d.errs)) > 0 {
		r.wake()
	}
}

// groupRecords puts together the records that may share a request, in the
// order of their first. Those that have failed before come last and share no
// request with others: some of them may fail every time, and the whole request
// with them.
func groupRecords(records []outbox.Record) []*group {
	type key struct {
		topic, attributes string
		deliverAt         int64
		failed            bool
	}
	byKey := map[key]*group{}
	var groups, failed []*group
	for _, record := range records {
		b := batch{topic: record.Topic, attributes: record.Attributes, deliverAt: record.DeliverAt}
		k := key{topic: record.Topic, attributes: string(record.Attributes), failed: hasFailed(record)}
		if b.scheduled() {
			k.deliverAt = record.DeliverAt.UnixMicro()
		}
		g := byKey[k]
		if g == nil {
			g = &group{batch: b}
			byKey[k] = g
			if k.failed {
				failed = append(failed, g)
			} else {
				groups = append(groups, g)
			}
		}
		g.batch.payloads = append(g.batch.payloads, record.Payload)
		g.records = append(g.records, record)
	}
	return append(groups, failed...)
}

// hasFailed tells whether a claimed record has failed before.
func hasFailed(record outbox.Record) bool { return record.Attempts > 1 && record.LastError != "" }

// settle writes the results of a group into the outbox, from where it may have
// come.
func (r *relay) settle(ctx context.Context, g *group, d *delivery, fromOutbox bool) {
	var delivered []string
	var changes, burials []outbox.Change
	var retried []int
	var refusal, cause error
	for i, record := range g.records {
		f := d.errs[i]
		if f == nil {
			delivered = append(delivered, record.ID)
			continue
		}
		change := outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken}
		switch {
		case f.untried || f.interrupted:
			change.Untried = f.untried
			change.After = backoff(1)
		case f.class == permanent:
			change.Dead, change.LastError = true, f.Error()
			burials = append(burials, change)
			refusal = f.cause
			continue
		default:
			base := backoffBase
			if f.class == unknownTopic || f.class == misconfigured {
				base = unknownTopicBase
			}
			// The pause comes on top of what the server asked for, so that
			// messages of one request do not come back together: one of them may
			// be what makes the server ask.
			change.After, change.LastError = f.retryAfter+backoffFrom(base, record.Attempts), f.Error()
			retried = append(retried, i)
			cause = f.cause
		}
		changes = append(changes, change)
	}
	topic := g.batch.topic
	if failed := len(retried); failed > 0 {
		r.client.log.warn("relay", topic, "messages in the outbox could not be delivered; they are tried again", "topic", topic, "messages", failed, "error", cause)
		r.client.observeFailed(Event{Topic: topic, FromOutbox: fromOutbox}, d.errs, retried, isPermanent)
	}
	r.remove(ctx, delivered)
	// Should these fail, the messages come back when their lease ends.
	reschedule := func(changes []outbox.Change) (n int, err error) {
		err = r.write(ctx, func(ctx context.Context) error {
			n, err = r.store.Reschedule(ctx, changes...)
			return err
		}, len(changes))
		return n, err
	}
	_, _ = reschedule(changes)
	// Those that a person has retried or discarded meanwhile are not dead.
	if dead, err := reschedule(burials); err == nil && dead > 0 {
		r.client.buried(Event{Topic: topic, Messages: dead, FromOutbox: fromOutbox, Err: refusal, Class: FailurePermanent})
	}
}

// remove deletes delivered messages, at once or, failing that, later.
func (r *relay) remove(ctx context.Context, ids []string) {
	err := r.write(ctx, func(ctx context.Context) error {
		_, err := r.store.Delete(ctx, ids...)
		return err
	}, len(ids))
	if err != nil {
		r.remember(ids)
	}
}

// remember keeps the ids of delivered messages to delete them later.
func (r *relay) remember(ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.settled[id] = true
	}
}

// unsettled leaves out the records that were delivered before.
func (r *relay) unsettled(records []outbox.Record) []outbox.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(records, func(record outbox.Record) bool { return r.settled[record.ID] })
}

// write makes a change to the outbox, also when the client is being stopped.
func (r *relay) write(ctx context.Context, change func(context.Context) error, rows int) error {
	if rows == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	var err error
	for range storeTries {
		if err = r.client.guard("settling messages", func() error { return change(ctx) }); err == nil {
			return nil
		}
	}
	r.client.log.error("outbox write", "", "the outbox cannot be written", "error", err)
	return err
}

// deleteSettled deletes what was delivered and could not be deleted then.
func (r *relay) deleteSettled(ctx context.Context) error {
	r.mu.Lock()
	ids := slices.Collect(maps.Keys(r.settled))
	r.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if _, err := r.store.Delete(ctx, ids...); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		delete(r.settled, id)
	}
	return nil
}
