package core

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// memoryRetryMax bounds the pause before messages in memory are tried again.
const memoryRetryMax = 30 * time.Second

var errBufferFull = errors.New("too many messages wait in memory")

// batcher holds messages in memory that are posted after the response. It
// puts those alike together until a batch is full or old enough, and posts a
// few batches at a time.
type batcher struct {
	client   *Client
	batching Batching
	// token holds the rows of messages that are stored and posted from
	// memory.
	token string
	// lanes collect messages into batches. All callers use the first, so that
	// batches become large, unless there is so much to do that every lane
	// fills its own: then callers on different processors use different ones.
	lanes []lane
	busy  atomic.Bool
	// used is what is held, reserved room included, and safe the part of it that
	// a crash would not lose: what is in the outbox too, or promises nothing.
	_    [cacheLine]byte
	used usage
	_    [cacheLine]byte
	safe usage
	// allowance bounds the rest, with an outbox.
	allowance *allowance

	mu    sync.Mutex // taken after that of a lane
	work  sync.Cond  // for ready and closing
	ready []*parcel
	// unfinished holds every batch that is not delivered or stored, waiting
	// ones and retries included.
	unfinished map[*parcel]struct{}
	retries    map[*parcel]*time.Timer
	// room is closed, and made anew, when messages have left.
	room    chan struct{}
	running bool // the workers were started
	// aging holds the batches that may be in memory alone, the oldest first.
	aging list.List
	ager  ager
	// spare holds the buffers of batches that were delivered.
	spare   []buffers
	closing bool // nothing more comes
	// lost counts messages that could neither be delivered nor stored when
	// the client was stopped.
	lost int
}

func newBatcher(client *Client, batching Batching) *batcher {
	b := &batcher{
		client:     client,
		batching:   batching,
		token:      uuid.NewString(),
		lanes:      make([]lane, min(runtime.GOMAXPROCS(0), maxLanes)),
		unfinished: map[*parcel]struct{}{},
		retries:    map[*parcel]*time.Timer{},
		room:       make(chan struct{}),
		ager:       ager{wake: make(chan struct{}, 1)},
		allowance:  newAllowance(batching.MaxAge / 2),
	}
	b.work.L = &b.mu
	for i := range b.lanes {
		b.lanes[i].batcher = b
		b.lanes[i].open = map[parcelKey]*parcel{}
	}
	return b
}

// sizeOf returns what a batch counts for in the bounds of memory.
func sizeOf(b batch) int {
	size := 0
	for _, payload := range b.payloads {
		size += len(payload)
	}
	return size
}

// put reserves room for a message and adds it; false if there is no room, or
// the client is being stopped. The turn spreads callers over the lanes.
func (b *batcher) put(m *batch, payload []byte, turn uint32) bool {
	l := b.lane(turn)
	if l.stopping || !l.reserve(len(payload)) {
		l.mu.Unlock()
		return false
	}
	full := l.append(m, payload, "")
	l.mu.Unlock()
	if full {
		// Callers that publish without a pause would keep the workers from
		// running for as long as the scheduler lets them, 10 ms.
		runtime.Gosched()
	}
	return true
}

// lane locks the lane to use.
func (b *batcher) lane(turn uint32) *lane {
	l := &b.lanes[0]
	if b.busy.Load() {
		l = &b.lanes[turn%uint32(len(b.lanes))]
	}
	l.mu.Lock()
	return l
}

// fills notes that a batch is full, or that its time was over before. There
// is much to do when it took less than a lane's share of the delay.
func (b *batcher) fills(p *parcel, full bool) {
	busy := full && time.Since(p.opened) < b.batching.Delay/time.Duration(len(b.lanes))
	if b.busy.Load() != busy {
		b.busy.Store(busy)
	}
}

// add takes messages for which room was reserved. The ids are those of their
// rows, if they are stored.
func (b *batcher) add(m batch, ids []string) {
	l := b.lane(0)
	defer l.mu.Unlock()
	one := m
	for i, payload := range m.payloads {
		id := ""
		if ids != nil {
			id = ids[i]
		}
		one.attributes = m.attributesOf(i)
		if m.ids != nil {
			one.ids = m.ids[i : i+1]
		}
		l.append(&one, payload, id)
	}
}

// expect notes a new batch, and starts the workers with the first.
func (b *batcher) expect(p *parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.buffers = b.takeSpare()
	p.body = appendBulkHead(p.body, p.batch.topic)
	b.unfinished[p] = struct{}{}
	if !p.held {
		p.age = b.aging.PushBack(p)
		b.ager.expect()
	}
	if b.running {
		return
	}
	b.running = true
	for range b.batching.InFlight {
		b.client.background.Go(b.run)
	}
	if b.client.cfg.outbox != nil {
		b.client.background.Go(b.age)
	}
}

// takeSpare returns spare buffers, or none. Without them a batch begins
// small, since it may stay so: there can be as many batches as messages.
func (b *batcher) takeSpare() buffers {
	last := len(b.spare) - 1
	if last < 0 {
		return buffers{}
	}
	spare := b.spare[last]
	b.spare = b.spare[:last]
	return spare
}

// spares returns the buffers of a batch that was delivered, if nobody reads
// them any more: not net/http, which tells by closing the body, and not the
// outbox, which has seen nothing of a batch without ids and failures.
// Transports of others are not relied on.
func (b *batcher) spares(p *parcel, errs []*failure) *buffers {
	if p.batch.readers == nil || p.batch.readers.Load() > 0 || b.client.transport.owned == nil || p.ids != nil ||
		len(failedIndexes(errs)) > 0 || cap(p.batch.bulk) > 2*DefaultBatchBytes {
		return nil
	}
	return &buffers{p.batch.bulk[:0], p.ends[:0]}
}

// run posts batches until the batcher is closed and empty.
func (b *batcher) run() {
	for p := b.take(); p != nil; p = b.take() {
		b.deliver(p)
	}
}

// take waits for a batch to post; nil when there will be none.
func (b *batcher) take() *parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.ready) == 0 {
		if b.closing && len(b.unfinished) == 0 {
			return nil
		}
		b.work.Wait()
	}
	p := b.ready[0]
	b.ready[0] = nil
	b.ready = b.ready[1:]
	return p
}

// deliver posts a batch and sees to what the server did not take.
func (b *batcher) deliver(p *parcel) {
	c := b.client
	p.unpack()
	d := &delivery{client: c, batch: p.batch, givenUp: c.hard.Err, since: p.opened, attempts: p.attempts + 1}
	if c.cfg.outbox != nil {
		d.deadline = b.leaseOf(p).Add(c.relay.lease() - c.relay.margin() - storeTimeout)
	}
	c.post(c.hard, d)
	b.mu.Lock()
	committing := p.committing
	if committing {
		p.posted = d // the commit concludes it
	} else {
		p.concluding = true
	}
	b.mu.Unlock()
	if !committing {
		b.conclude(p, d)
	}
}

// leaseOf tells when the lease of a batch's rows began; for one that is not in
// the outbox, it begins now at the earliest.
func (b *batcher) leaseOf(p *parcel) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.held {
		return p.leased
	}
	return time.Now()
}

// conclude sees to the results of a post: rows in the outbox are settled, and
// what failed is stored.
func (b *batcher) conclude(p *parcel, d *delivery) {
	failed := failedIndexes(d.errs)
	if !p.held && p.ids != nil && len(failed) > 0 && b.insertHeld(p) == nil {
		// Rows that may have been there before are there for sure.
		b.mu.Lock()
		b.holds(p, time.Now())
		b.mu.Unlock()
	}
	again, pause := (*parcel)(nil), time.Duration(0)
	switch {
	case p.held:
		b.client.relay.settleHeld(b.client.hard, p, d, b.token)
	case p.ids != nil:
		b.client.relay.remove(b.client.hard, pickEach(p.ids, deliveredIndexes(d.errs)))
		again, pause = b.again(p, d.errs, failed)
	default:
		again, pause = b.keep(p, d.errs, failed)
	}
	b.finish(p, again, pause, b.spares(p, d.errs))
}

// keep stores what was not delivered. What cannot be stored either is to be
// tried again: it is returned as a batch, with the pause before it.
func (b *batcher) keep(p *parcel, errs []*failure, failed []int) (again *parcel, pause time.Duration) {
	if len(failed) == 0 {
		return nil, 0
	}
	c := b.client
	if c.cfg.outbox == nil {
		c.observeFailed(Event{Topic: p.batch.topic}, errs, failed, isPermanent)
		return b.again(p, errs, failed)
	}
	p.batch.tried = p.attempts
	left, err := b.store(p, errs, failed)
	if err != nil {
		c.log.error("keep", p.batch.topic, "messages can neither be delivered nor stored; they wait in memory", "topic", p.batch.topic, "messages", len(left), "error", err)
	}
	return b.again(p, errs, left)
}

// store commits messages that failed, and returns those that it could not.
// What exceeds the bound of the outbox by itself does not keep out the rest.
func (b *batcher) store(p *parcel, errs []*failure, failed []int) (left []int, err error) {
	some := make([]*failure, len(errs))
	for _, i := range failed {
		some[i] = errs[i]
	}
	c := b.client
	err = c.guard("storing messages", func() error {
		_, err := c.keep(c.hard, noPatience(), p.batch, some, nil)
		return err
	})
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, outbox.ErrNeverFits) || len(failed) == 1:
		return failed, err
	}
	half := len(failed) / 2
	first, firstErr := b.store(p, errs, failed[:half])
	second, secondErr := b.store(p, errs, failed[half:])
	return append(slices.Clone(first), second...), cmp.Or(firstErr, secondErr)
}

// again makes a batch of messages that are to be posted again, and draws the
// pause before it. Without an outbox, those that the server refuses for good
// are dropped.
func (b *batcher) again(p *parcel, errs []*failure, failed []int) (again *parcel, pause time.Duration) {
	c := b.client
	again = &parcel{
		key:        p.key,
		batch:      batch{topic: p.batch.topic, attributes: p.batch.attributes, deliverAt: p.batch.deliverAt, ids: p.batch.ids, origins: p.batch.origins},
		opened:     p.opened,
		attempts:   p.attempts,
		settlement: p.settlement,
		ready:      true,
		neverFits:  p.neverFits,
	}
	refused := 0
	var cause error
	for _, i := range untriedFirst(failed, errs) {
		f := errs[i]
		if f.class == permanent && c.cfg.outbox == nil {
			refused++
			cause = f.cause
			continue
		}
		if !f.untried {
			again.attempts = p.attempts + 1
		}
		again.batch.payloads = append(again.batch.payloads, p.batch.payloads[i])
		again.errs = append(again.errs, f)
		if p.ids != nil {
			again.ids = append(again.ids, p.ids[i])
		}
		again.messages++
		again.bytes += len(p.batch.payloads[i])
		pause = max(pause, f.retryAfter)
	}
	if refused > 0 {
		c.log.error("dead", p.batch.topic, "server refuses messages for good, and there is no outbox to keep them", "topic", p.batch.topic, "messages", refused, "error", cause)
		c.throughput.add(0, 0, refused)
		emit(c.cfg.observer.Dead, Event{Topic: p.batch.topic, Messages: refused, Err: cause, Class: FailurePermanent})
	}
	if again.messages == 0 {
		return nil, 0
	}
	return again, max(pause, min(backoff(again.attempts), memoryRetryMax))
}

// untriedFirst puts what was not sent before what failed, so that a message that
// fails every time cannot keep the others from being sent.
func untriedFirst(failed []int, errs []*failure) []int {
	var untried, tried []int
	for _, i := range failed {
		if errs[i].untried {
			untried = append(untried, i)
		} else {
			tried = append(tried, i)
		}
	}
	return append(untried, tried...)
}

// finish lets go of a batch, or of the part of it that is not to be posted
// again after a pause. The spare buffers, if any, are used for another.
func (b *batcher) finish(p, again *parcel, pause time.Duration, spare *buffers) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if spare != nil && len(b.spare) < 2*b.batching.InFlight {
		b.spare = append(b.spare, *spare)
	}
	delete(b.unfinished, p)
	b.ageless(p)
	p.batch = batch{} // which the order of batches would keep for a while
	if p.held {
		b.safe.remove(p.messages, p.bytes)
	}
	messages, bytes := p.messages, p.bytes
	if again != nil && b.client.hard.Err() != nil {
		// The client's time is over, and so is that of the messages.
		b.lost += again.messages
		p.lost += again.messages
		b.client.log.error("lost", again.batch.topic, "messages are lost: the client is stopped, and they are neither delivered nor stored",
			"topic", again.batch.topic, "messages", again.messages)
		again = nil
	}
	if again != nil {
		messages -= again.messages
		bytes -= again.bytes
		b.unfinished[again] = struct{}{}
		again.age = b.aging.PushFront(again)
		b.ager.expect()
		b.retries[again] = time.AfterFunc(pause, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.retry(again)
		})
	}
	b.releaseLocked(messages, bytes)
	if again == nil {
		p.settle()
	}
	if b.closing && len(b.unfinished) == 0 {
		b.work.Broadcast()
		b.ager.rouse()
	}
}

// retry makes a batch ready whose pause is over.
func (b *batcher) retry(p *parcel) {
	if _, waits := b.retries[p]; !waits {
		return
	}
	delete(b.retries, p)
	b.ready = append(b.ready, p)
	b.work.Signal()
}

// flush posts what waits, and waits until all that was there is delivered or
// stored. The error is ErrUndelivered if messages were lost meanwhile, because
// the client was stopped.
func (b *batcher) flush(ctx context.Context) error {
	for i := range b.lanes {
		b.lanes[i].sealAll()
	}
	b.mu.Lock()
	var waiting []*settlement
	for p := range b.unfinished {
		if !p.held {
			waiting = append(waiting, p.settlement)
		}
	}
	b.mu.Unlock()
	lost := 0
	for _, s := range waiting {
		select {
		case <-s.done:
			lost += s.lost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if lost > 0 {
		return fmt.Errorf("%sflush: %d messages: %w", prefix, lost, inner{ErrUndelivered})
	}
	return nil
}

// stop has put take no more. What is under way otherwise still comes.
func (b *batcher) stop() {
	for i := range b.lanes {
		b.lanes[i].stop()
	}
}

// close has the workers end when all is delivered or stored.
func (b *batcher) close() {
	for i := range b.lanes {
		b.lanes[i].sealAll()
		b.lanes[i].stopTimer()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	b.work.Broadcast()
	b.ager.rouse()
}

// hurry cuts short the pauses before retries, so that they see that the
// client's time is over.
func (b *batcher) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, timer := range b.retries {
		timer.Stop()
		b.retry(p)
	}
}

// undelivered counts the messages that were lost by stopping.
func (b *batcher) undelivered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}
