package core

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

var errBufferFull = errors.New("postoffice: too many messages wait in memory")

// batcher holds messages in memory that are posted after the response. It
// puts those alike together until a batch is full or old enough, and posts a
// few batches at a time.
type batcher struct {
	client   *Client
	batching Batching
	// token holds the rows of messages that are stored and posted from
	// memory.
	token string

	mu   sync.Mutex
	work sync.Cond // for ready and closing
	// open holds the batches that take more messages, order their sequence.
	open  map[parcelKey]*parcel
	order []*parcel
	ready []*parcel
	// unfinished holds every batch that is not delivered or stored, waiting
	// ones and retries included.
	unfinished map[*parcel]struct{}
	retries    map[*parcel]*time.Timer
	// messages and bytes count what is held, reserved room included.
	messages, bytes int
	// room is closed, and made anew, when messages have left.
	room    chan struct{}
	timer   *time.Timer // seals the oldest open batch
	running bool        // the workers were started
	// last is the batch of the last message: mostly that of the next, too.
	last *parcel
	// spare holds the buffers of batches that were delivered.
	spare    [][]byte
	stopping bool // put takes no more
	closing  bool // nothing more comes
	// lost counts messages that could neither be delivered nor stored when
	// the client was stopped.
	lost int
}

// parcelKey is what messages of a batch have in common.
type parcelKey struct {
	topic, attributes string
	deliverAt         int64
	stored            bool
}

// parcel is a batch in the batcher.
type parcel struct {
	key   parcelKey
	batch batch
	// body is the bulk request as far as it is known, and ends where in it
	// the payloads end, each before a comma. They become the payloads of the
	// batch when it is posted.
	body []byte
	ends []int
	// ids are the ids of rows in the outbox, when the messages are stored.
	ids []string
	// messages and bytes are what it counts for in the bounds of memory.
	messages, bytes int
	opened          time.Time
	sealed          bool
	// attempts counts the failed attempts of a retry.
	attempts int
	done     chan struct{} // closed when all is delivered or stored
}

// unpack makes the batch of what was collected.
func (p *parcel) unpack() {
	if p.body == nil {
		return
	}
	start := len(appendBulkHead(nil, p.batch.topic))
	p.batch.payloads = make([][]byte, len(p.ends))
	for i, end := range p.ends {
		p.batch.payloads[i] = p.body[start:end:end]
		start = end + len(",")
	}
	p.batch.bulk, p.batch.readers = appendBulkTail(p.body, p.batch.attributes), new(atomic.Int32)
	p.body, p.ends = nil, nil
}

func newBatcher(client *Client, batching Batching) *batcher {
	b := &batcher{
		client:     client,
		batching:   batching,
		token:      uuid.NewString(),
		open:       map[parcelKey]*parcel{},
		unfinished: map[*parcel]struct{}{},
		retries:    map[*parcel]*time.Timer{},
		room:       make(chan struct{}),
	}
	b.work.L = &b.mu
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

// reserve makes room for messages. Without room it returns a channel that is
// closed when there may be some.
func (b *batcher) reserve(messages, bytes int) (room <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fits(messages, bytes) {
		return b.room, false
	}
	b.messages += messages
	b.bytes += bytes
	return nil, true
}

// put reserves room for a message and adds it; false if there is no room, or
// the client is being stopped.
func (b *batcher) put(m batch, payload []byte) bool {
	b.mu.Lock()
	if b.stopping || !b.fits(1, len(payload)) {
		b.mu.Unlock()
		return false
	}
	b.messages++
	b.bytes += len(payload)
	full := b.append(m, payload, "")
	b.mu.Unlock()
	if full {
		// Callers that publish without a pause would keep the workers from
		// running for as long as the scheduler lets them, 10 ms.
		runtime.Gosched()
	}
	return true
}

// fits tells whether there is room. A message larger than all the room fits
// when there is no other.
func (b *batcher) fits(messages, bytes int) bool {
	return b.messages+messages <= b.batching.MaxMessages && b.bytes+bytes <= b.batching.MaxBytes || b.messages == 0
}

// release gives back room.
func (b *batcher) release(messages, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(messages, bytes)
}

func (b *batcher) releaseLocked(messages, bytes int) {
	b.messages -= messages
	b.bytes -= bytes
	close(b.room)
	b.room = make(chan struct{})
}

// add takes messages for which room was reserved. The ids are those of their
// rows, if they are stored.
func (b *batcher) add(m batch, ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, payload := range m.payloads {
		id := ""
		if ids != nil {
			id = ids[i]
		}
		b.append(m, payload, id)
	}
}

// append adds a copy of a payload to the open batch of its kind, and tells
// whether the batch is full.
func (b *batcher) append(m batch, payload []byte, id string) (full bool) {
	deliverAt := int64(0)
	if !m.deliverAt.IsZero() {
		deliverAt = m.deliverAt.UnixMicro()
	}
	p := b.last
	if p == nil || p.sealed || p.key.topic != m.topic || p.key.attributes != string(m.attributes) ||
		p.key.deliverAt != deliverAt || p.key.stored != (id != "") {
		p = b.open[parcelKey{m.topic, string(m.attributes), deliverAt, id != ""}]
		if p == nil {
			p = b.openParcel(m, parcelKey{m.topic, string(m.attributes), deliverAt, id != ""})
		}
		b.last = p
	}
	p.body = append(p.body, payload...)
	p.ends = append(p.ends, len(p.body))
	p.body = append(p.body, ',')
	p.messages++
	p.bytes += len(payload)
	if id != "" {
		p.ids = append(p.ids, id)
	}
	full = p.messages >= b.batching.Payloads || p.bytes >= b.batching.Bytes
	if full {
		b.seal(p)
	}
	return full
}

// openParcel makes an empty batch.
func (b *batcher) openParcel(m batch, key parcelKey) *parcel {
	b.start()
	p := &parcel{
		key:    key,
		batch:  batch{topic: m.topic, attributes: m.attributes, deliverAt: m.deliverAt},
		body:   appendBulkHead(b.buffer(), m.topic),
		opened: time.Now(),
		done:   make(chan struct{}),
	}
	b.open[key] = p
	b.unfinished[p] = struct{}{}
	b.order = append(b.order, p)
	if len(b.order) == 1 {
		b.setTimer(b.batching.Delay)
	}
	return p
}

// buffer returns a spare buffer, or none. Without one a batch begins small,
// since it may stay so: there can be as many batches as messages.
func (b *batcher) buffer() []byte {
	last := len(b.spare) - 1
	if last < 0 {
		return nil
	}
	buffer := b.spare[last]
	b.spare = b.spare[:last]
	return buffer
}

// spares returns the buffer of a batch that was delivered, if nobody reads it
// any more: not net/http, which tells by closing the body, and not the
// outbox, which has seen nothing of a batch without failures. Transports of
// others are not relied on.
func (b *batcher) spares(p *parcel, errs []*failure) []byte {
	if p.batch.readers == nil || p.batch.readers.Load() > 0 || b.client.transport.owned == nil ||
		len(failedIndexes(errs)) > 0 || cap(p.batch.bulk) > 2*DefaultBatchBytes {
		return nil
	}
	return p.batch.bulk[:0]
}

// seal hands a batch over to the workers.
func (b *batcher) seal(p *parcel) {
	delete(b.open, p.key)
	p.sealed = true
	if b.last == p {
		b.last = nil
	}
	b.ready = append(b.ready, p)
	b.work.Signal()
}

// setTimer has the oldest open batches sealed after the delay.
func (b *batcher) setTimer(delay time.Duration) {
	if b.timer == nil {
		b.timer = time.AfterFunc(delay, b.sealOld)
		return
	}
	b.timer.Reset(delay)
}

// sealOld seals the batches whose delay is over.
func (b *batcher) sealOld() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for len(b.order) > 0 {
		p := b.order[0]
		if !p.sealed {
			if left := b.batching.Delay - now.Sub(p.opened); left > 0 {
				b.setTimer(left)
				return
			}
			b.seal(p)
		}
		b.order[0] = nil
		b.order = b.order[1:]
	}
	b.order = nil
}

// start starts the workers with the first message.
func (b *batcher) start() {
	if b.running {
		return
	}
	b.running = true
	for range b.batching.InFlight {
		b.client.background.Go(b.run)
	}
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
	d := &delivery{client: c, batch: p.batch, givenUp: c.hard.Err}
	stored := p.ids != nil
	if stored {
		d.deadline = p.opened.Add(c.relay.lease() - 2*c.cfg.bulkTimeout)
	}
	c.sendAll(c.hard, d)
	again, pause := (*parcel)(nil), time.Duration(0)
	if stored {
		c.relay.settleHeld(c.hard, p, d, b.token)
	} else {
		again, pause = b.keep(p, d.errs, failedIndexes(d.errs))
	}
	b.finish(p, again, pause, b.spares(p, d.errs))
}

// keep stores what was not delivered. What cannot be stored either is to be
// tried again: it is returned as a batch, with the pause before it.
func (b *batcher) keep(p *parcel, errs []*failure, failed []int) (again *parcel, pause time.Duration) {
	c := b.client
	if len(failed) == 0 {
		return nil, 0
	}
	if c.cfg.outbox != nil {
		_, err := c.keep(c.hard, p.batch, errs, nil)
		if err == nil {
			return nil, 0
		}
		c.log.error("keep", p.batch.topic, "messages can neither be delivered nor stored; they wait in memory", "topic", p.batch.topic, "messages", len(failed), "error", err)
	}
	again = &parcel{batch: p.batch, opened: p.opened, sealed: true, attempts: p.attempts, done: p.done}
	again.batch.payloads, again.batch.bulk, again.batch.readers = nil, nil, nil
	refused := 0
	var cause error
	for _, i := range failed {
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
		again.messages++
		again.bytes += len(p.batch.payloads[i])
		pause = max(pause, f.retryAfter)
	}
	if refused > 0 {
		c.log.error("dead", p.batch.topic, "server refuses messages for good, and there is no outbox to keep them", "topic", p.batch.topic, "messages", refused, "error", cause)
		emit(c.cfg.observer.Dead, Event{Topic: p.batch.topic, Messages: refused, Err: cause})
	}
	if again.messages == 0 {
		return nil, 0
	}
	return again, max(pause, min(backoff(again.attempts), relayErrorMax))
}

// finish lets go of a batch, or of the part of it that is not to be posted
// again after a pause. The spare buffer, if any, is used for another.
func (b *batcher) finish(p, again *parcel, pause time.Duration, spare []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if spare != nil && len(b.spare) < 2*b.batching.InFlight {
		b.spare = append(b.spare, spare)
	}
	delete(b.unfinished, p)
	p.batch = batch{} // which the order of batches would keep for a while
	messages, bytes := p.messages, p.bytes
	switch {
	case again == nil:
		close(p.done)
	case b.client.hard.Err() != nil:
		// The client's time is over, and so is that of the messages.
		b.lost += again.messages
		close(p.done)
	default:
		messages -= again.messages
		bytes -= again.bytes
		b.unfinished[again] = struct{}{}
		b.retries[again] = time.AfterFunc(pause, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.retry(again)
		})
	}
	b.releaseLocked(messages, bytes)
	if b.closing && len(b.unfinished) == 0 {
		b.work.Broadcast()
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
// stored.
func (b *batcher) flush(ctx context.Context) error {
	b.mu.Lock()
	b.sealAll()
	var waiting []*parcel
	for p := range b.unfinished {
		if p.ids == nil {
			waiting = append(waiting, p)
		}
	}
	b.mu.Unlock()
	for _, p := range waiting {
		select {
		case <-p.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// sealAll seals every open batch.
func (b *batcher) sealAll() {
	for _, p := range b.order {
		if !p.sealed {
			b.seal(p)
		}
	}
	b.order = nil
}

// stop has put take no more. What is under way otherwise still comes.
func (b *batcher) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopping = true
}

// close has the workers end when all is delivered or stored.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	b.sealAll()
	if b.timer != nil {
		b.timer.Stop()
	}
	b.work.Broadcast()
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
