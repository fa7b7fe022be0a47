package core

import (
	"sync"
	"time"
)

// maxLanes bounds the lanes: each may hold back a batch of its own.
const maxLanes = 4

// lane collects messages into batches.
type lane struct {
	batcher *batcher

	mu sync.Mutex
	// open holds the batches that take more messages, order their sequence.
	open  map[parcelKey]*parcel
	order []*parcel
	// last is the batch of the last message: mostly that of the next, too.
	last     *parcel
	timer    *time.Timer // seals the oldest open batch
	stopping bool        // put takes no more
	// spareMessages and spareBytes are room that is reserved already, for
	// messages to come. A lane has some only while it has an open batch.
	spareMessages, spareBytes int

	_ [cacheLine]byte
}

// cacheLine is how far apart, in bytes, things have to be that different
// processors write at the same time, so that they do not wait for each
// other's memory: two lines of 64, since some processors fetch pairs.
const cacheLine = 128

// reserveAhead is how many messages a lane reserves room for at once.
const reserveAhead = 32

// reserve makes room for a message in memory. While there is plenty it takes
// some for the next ones, too: all callers write to the one count of what is
// used, which makes it slow.
func (l *lane) reserve(bytes int) bool {
	if l.spareMessages == 0 || l.spareBytes < bytes {
		b := l.batcher
		messages, most := b.most()
		if !b.used.addWithin(reserveAhead, reserveAhead*bytes, messages-reserveAhead, most) {
			return b.reserveExposed(1, bytes)
		}
		l.spareMessages += reserveAhead
		l.spareBytes += reserveAhead * bytes
	}
	l.spareMessages--
	l.spareBytes -= bytes
	return true
}

// append adds a copy of a payload to the open batch of its kind, and tells
// whether the batch is full.
func (l *lane) append(m *batch, payload []byte, id string) (full bool) {
	deliverAt := int64(0)
	if !m.deliverAt.IsZero() {
		deliverAt = m.deliverAt.UnixMicro()
	}
	p := l.last
	if p == nil || p.key.topic != m.topic || p.key.attributes != string(m.attributes) ||
		p.key.deliverAt != deliverAt || p.key.stored != (id != "") {
		p = l.open[parcelKey{m.topic, string(m.attributes), deliverAt, id != ""}]
		if p == nil {
			p = l.openParcel(m, parcelKey{m.topic, string(m.attributes), deliverAt, id != ""})
		}
		l.last = p
	}
	p.body = appendBulkPayload(p.body, payload)
	p.ends = append(p.ends, len(p.body)-len(","))
	p.messages++
	if m.origins != nil {
		p.batch.addOrigins(m.origins)
	}
	p.bytes += len(payload)
	if id != "" {
		p.ids = append(p.ids, id)
	}
	batching := &l.batcher.batching
	full = p.messages >= batching.Payloads || p.bytes >= batching.Bytes
	if full {
		l.batcher.fills(p, true)
		l.seal(p)
	}
	return full
}

// openParcel makes an empty batch.
func (l *lane) openParcel(m *batch, key parcelKey) *parcel {
	now := time.Now()
	p := &parcel{
		key:    key,
		batch:  batch{topic: m.topic, attributes: m.attributes, deliverAt: m.deliverAt, ids: m.ids},
		opened: now,
		held:   key.stored, // the lease began before, when the first row was inserted
		leased: now,

		settlement: newSettlement(),
	}
	l.batcher.expect(p)
	l.open[key] = p
	l.order = append(l.order, p)
	if len(l.order) == 1 {
		l.setTimer(l.batcher.batching.Delay)
	}
	return p
}

// seal hands a batch over to the workers.
func (l *lane) seal(p *parcel) {
	delete(l.open, p.key)
	p.sealed = true
	if l.last == p {
		l.last = nil
	}
	b := l.batcher
	b.used.remove(l.spareMessages, l.spareBytes)
	l.spareMessages, l.spareBytes = 0, 0
	b.mu.Lock()
	defer b.mu.Unlock()
	p.ready = true
	if b.ager.pressed {
		b.ager.rouse()
	}
	b.ready = append(b.ready, p)
	b.work.Signal()
}

// setTimer has the oldest open batches sealed after the delay.
func (l *lane) setTimer(delay time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(delay, l.sealOld)
		return
	}
	l.timer.Reset(delay)
}

// sealOld seals the batches whose delay is over.
func (l *lane) sealOld() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for len(l.order) > 0 {
		p := l.order[0]
		if !p.sealed {
			if left := l.batcher.batching.Delay - now.Sub(p.opened); left > 0 {
				l.setTimer(left)
				return
			}
			l.batcher.fills(p, false)
			l.seal(p)
		}
		l.order[0] = nil
		l.order = l.order[1:]
	}
	l.order = nil
}

// sealAll seals every open batch.
func (l *lane) sealAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.order {
		if !p.sealed {
			l.seal(p)
		}
	}
	l.order = nil
}

// stop has put take no more.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
}

// stopTimer ends the timer for good.
func (l *lane) stopTimer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
