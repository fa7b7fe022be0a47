package relay

import (
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// stuck reports whether a post of a topic has outlived its lease, because the
// app's transport ignores its context. Other processes may then claim its rows.
func (d *dispatcher) stuck(t *topic) bool {
	return t.running > 0 && slices.ContainsFunc(d.posts, func(p *post) bool { return p.topic == t && time.Since(p.until) >= d.margin() })
}

// slowRunning counts the slots of slow topics.
func (d *dispatcher) slowRunning() int {
	n := 0
	for _, p := range d.posts {
		if p.topic.slow() {
			n++
		}
	}
	return n
}

// note updates the counts after a change of a topic.
func (d *dispatcher) note(t *topic) {
	if active := t.waiting() || t.running > 0; active != t.active {
		t.active = active
		if active {
			d.active++
		} else {
			d.active--
		}
	}
	if t.more && !t.waiting() {
		d.hungry[t] = true
	} else {
		delete(d.hungry, t)
	}
}

// mayRun reports whether a topic may have another slot. While several topics
// have rows, none gets more than its share of the slots, and the last free slot
// is reserved for topics without one. A slow topic gets one slot, and all slow
// topics together get half of the slots.
func (d *dispatcher) mayRun(t *topic) bool {
	others := d.Reserved || d.active > 1 || d.active == 1 && !t.active
	switch {
	case d.free == 0, d.stuck(t):
		return false
	case t.slow():
		return t.running == 0 && d.slowRunning() < max(d.Slots/2, 1) && (!others || d.free > 1 || d.Slots == 1)
	case others:
		return t.running < d.PerTopic && (d.free > 1 || t.running == 0)
	}
	return true
}

// idle reports whether the state of the topic can be dropped.
func (d *dispatcher) idle(t *topic) bool {
	return !t.waiting() && t.running == 0 && !t.more && !t.slow()
}

// enqueue adds a topic with rows to the queue for slots.
func (d *dispatcher) enqueue(t *topic) {
	if t.waiting() && !t.queued {
		t.queued = true
		d.queue = append(d.queue, t)
	}
}

// start assigns free slots to topics in turn.
func (d *dispatcher) start(state circuit.State) {
	for d.free > 0 {
		if state == circuit.HalfOpen && d.probing {
			return // one post probes the server
		}
		i := slices.IndexFunc(d.queue, d.mayRun)
		if i < 0 {
			return
		}
		t := d.queue[i]
		d.queue = slices.Delete(d.queue, i, i+1)
		t.queued = false
		d.post(t, state == circuit.HalfOpen)
		d.enqueue(t)
	}
}

// post starts a post of a topic, with one row if it probes the server.
func (d *dispatcher) post(t *topic, probe bool) {
	p := &post{topic: t, probe: probe}
	d.probing = d.probing || probe
	groups := &t.newRows
	if len(t.newRows) == 0 || len(t.failed) > 0 && t.runningFailed == 0 && t.newLast {
		groups, p.failed = &t.failed, true
	}
	t.newLast = !p.failed
	chunk := takeChunk(groups, probe || d.Handle != nil, d.Slots)
	p.until = chunk[0].until
	for _, g := range chunk {
		d.rows, d.bytes = d.rows-len(g.records), d.bytes-sizeOf(g.records)
		d.begun(t, g, false)
		if g.until.Before(p.until) { // the rest of an earlier post may come from an older claim
			p.until = g.until
		}
	}
	d.free--
	t.running++
	d.posts = append(d.posts, p)
	if p.failed {
		t.runningFailed++
	}
	d.note(t)
	go func() {
		defer func() { d.done <- p }()
		err := d.Guard("the relay", func() error {
			d.send(p, chunk)
			return nil
		})
		if err != nil { // the rows are claimed again when their lease ends
			for _, g := range chunk {
				d.Settler.release(recordIDs(g.records)...)
			}
		}
	}()
}

// ended frees the slot of a post.
func (d *dispatcher) ended(p *post) {
	t := p.topic
	d.free++
	t.running--
	d.posts = slices.DeleteFunc(d.posts, func(other *post) bool { return other == p })
	if p.probe {
		d.probing = false
	}
	if p.untried {
		d.probeAfter = time.Now().Add(office.Pause / 4)
	}
	t.slowUntil = time.Time{}
	if p.timedOut {
		t.slowUntil = time.Now().Add(slowMemory)
	}
	groups := &t.newRows
	if p.failed {
		t.runningFailed--
		groups = &t.failed
	}
	*groups = append(p.rest, *groups...)
	for _, g := range p.rest {
		d.rows, d.bytes = d.rows+len(g.records), d.bytes+sizeOf(g.records)
	}
	if p.timedOut {
		// Its rows would take capacity from other topics for a long time.
		d.release(t)
	}
	d.enqueue(t)
	d.note(t)
	if d.idle(t) {
		delete(d.topics, t.name)
	}
}

func (d *dispatcher) unqueue(t *topic) {
	if t.queued {
		t.queued = false
		d.queue = slices.DeleteFunc(d.queue, func(other *topic) bool { return other == t })
	}
}
