package queue

import (
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// maxShards bounds the number of shards, because each may have a batch that is
// not full.
const maxShards = 4

// shard collects messages in batches.
type shard struct {
	queue *Queue

	mu sync.Mutex
	// open holds the batches that accept messages, and order the sequence in
	// which they were opened.
	open  map[key]*entry
	order []*entry
	// last is the batch of the last message, and usually of the next one.
	last     *entry
	timer    *time.Timer // seals the oldest open batch
	stopping bool        // Put rejects messages
	// spareMessages and spareBytes are capacity reserved in advance. A shard
	// has some only while it has an open batch.
	spareMessages, spareBytes int
	// fullKey is the key of the last batch that became full, unless a batch was
	// sealed by its age since. fullBytes and fullPayloads are the size of its
	// body, which the next batch with the key allocates at once.
	fullKey                 key
	fullBytes, fullPayloads int

	_ [falseSharing]byte
}

// falseSharing is padding, in bytes, against false sharing: two 64-byte lines,
// because some CPUs prefetch pairs.
const falseSharing = 128

// reserveAhead is the number of messages for which a shard reserves capacity at
// once.
const reserveAhead = 32

// reserve reserves capacity for a message. While capacity is plentiful, it also
// reserves some for the next messages, because all callers contend for the one
// usage counter.
func (s *shard) reserve(bytes int) bool {
	if s.spareMessages == 0 || s.spareBytes < bytes {
		q := s.queue
		messages, limit := q.limits()
		if !q.used.addWithin(reserveAhead, reserveAhead*bytes, messages-reserveAhead, limit) {
			return q.reserveExposed(1, bytes)
		}
		s.spareMessages += reserveAhead
		s.spareBytes += reserveAhead * bytes
	}
	s.spareMessages--
	s.spareBytes -= bytes
	return true
}

// append adds a copy of a payload, with the topic, attributes and time of
// delivery of a batch, to its open batch. It reports whether the batch is full.
// The ID may be empty; with stored it is the ID of a row in the outbox.
func (s *shard) append(like *message.Batch, payload []byte, id string, stored bool) (full bool) {
	deliverAt := int64(0)
	if !like.DeliverAt.IsZero() {
		deliverAt = like.DeliverAt.UnixMicro()
	}
	e := s.last
	if e == nil || e.key.topic != like.Topic || e.key.attributes != string(like.Attributes) ||
		e.key.deliverAt != deliverAt || e.key.stored != stored {
		k := key{like.Topic, string(like.Attributes), deliverAt, stored}
		if e = s.open[k]; e == nil {
			e = s.begin(like, k)
		}
		s.last = e
	}
	e.collector.Add(payload)
	e.messages++
	e.bytes += len(payload)
	if like.Origins != nil {
		e.batch.AddOrigins(like.Origins)
	}
	if id != "" {
		for len(e.ids) < e.messages-1 {
			e.ids = append(e.ids, "") // for earlier messages without an ID
		}
		e.ids = append(e.ids, id)
	}
	config := &s.queue.config
	full = e.messages >= config.Payloads || e.bytes >= config.Bytes
	if full {
		s.fullKey = e.key
		s.fullBytes, s.fullPayloads = e.collector.Size()
		if s.fullBytes > maxSpareBytes {
			s.fullKey = key{}
		}
		s.queue.fills(e, true)
		s.seal(e)
	}
	return full
}

// begin returns a new empty batch.
func (s *shard) begin(like *message.Batch, k key) *entry {
	now := time.Now()
	e := &entry{
		key:    k,
		batch:  message.Batch{Topic: like.Topic, Attributes: like.Attributes, DeliverAt: like.DeliverAt},
		opened: now,
		held:   k.stored, // the lease began earlier, when the first row was inserted
		leased: now,

		settlement: newSettlement(),
	}
	s.queue.expect(e)
	e.collector.Begin(like.Topic)
	if k == s.fullKey {
		e.collector.Grow(s.fullBytes+s.fullBytes/32, s.fullPayloads) // sizes vary
	}
	s.open[k] = e
	s.order = append(s.order, e)
	if len(s.order) == 1 {
		s.setTimer(s.queue.config.Delay)
	}
	return e
}

// seal passes a batch to the workers.
func (s *shard) seal(e *entry) {
	delete(s.open, e.key)
	e.sealed = true
	if s.last == e {
		s.last = nil
	}
	q := s.queue
	q.used.remove(s.spareMessages, s.spareBytes)
	s.spareMessages, s.spareBytes = 0, 0
	q.mu.Lock()
	defer q.mu.Unlock()
	e.ready = true
	if q.ager.pressed {
		q.ager.wakeUp()
	}
	q.ready = append(q.ready, e)
	q.work.Signal()
}

// setTimer schedules sealOld after the delay.
func (s *shard) setTimer(delay time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(delay, s.sealOld)
		return
	}
	s.timer.Reset(delay)
}

// sealOld seals the batches whose delay is over.
func (s *shard) sealOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.order) > 0 {
		e := s.order[0]
		if !e.sealed {
			if left := s.queue.config.Delay - now.Sub(e.opened); left > 0 {
				s.setTimer(left)
				return
			}
			s.fullKey = key{}
			s.queue.fills(e, false)
			s.seal(e)
		}
		s.order[0] = nil
		s.order = s.order[1:]
	}
	s.order = nil
}

// sealAll seals every open batch.
func (s *shard) sealAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.order {
		if !e.sealed {
			s.seal(e)
		}
	}
	s.order = nil
}

// stop makes Put reject messages.
func (s *shard) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

// stopTimer stops the timer permanently.
func (s *shard) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}
