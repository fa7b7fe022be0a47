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
}

// append adds a copy of a payload to the open batch of its kind, and tells
// whether the batch is full.
func (l *lane) append(m batch, payload []byte, id string) (full bool) {
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
func (l *lane) openParcel(m batch, key parcelKey) *parcel {
	p := &parcel{
		key:    key,
		batch:  batch{topic: m.topic, attributes: m.attributes, deliverAt: m.deliverAt},
		opened: time.Now(),
		done:   make(chan struct{}),
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
	b.mu.Lock()
	defer b.mu.Unlock()
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
