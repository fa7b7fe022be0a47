package relay

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// dispatcher assigns slots to topics while a relay runs. It belongs to one
// goroutine; the posts run in separate goroutines and return through done.
type dispatcher struct {
	*Relay
	stopping, force context.Context

	free  int     // number of free slots
	posts []*post // in progress
	// topics are the topics with rows in memory, posts in progress or possibly
	// more due rows. queue is the order in which topics with rows get slots.
	topics map[string]*topic
	queue  []*topic
	rows   int   // number of rows in memory
	bytes  int64 // size of these rows
	done   chan *post
	// settlements receives the rows of ended posts.
	settlements chan Settlement
	// active counts the topics with rows in memory or slots. hungry are the
	// topics that may have due rows but have none in memory.
	active int
	hungry map[*topic]bool
	// expires is the time at which the first rows in memory must be given back.
	expires time.Time
	// probing means that a post probes the server. probeAfter is the earliest
	// time of the next probe after the circuit breaker has blocked one.
	probing    bool
	probeAfter time.Time

	// after is the last topic of the last claim.
	after string
	// nextClaim is the time of the next claim, unless a topic is hungry.
	nextClaim time.Time
	failing   bool // the last call to the outbox has failed
	// flushing are the calls of Flush that wait for posts and settlements.
	flushing []*flush
	rate     rate
}

func newDispatcher(stopping, force context.Context, r *Relay) *dispatcher {
	return &dispatcher{
		Relay: r, stopping: stopping, force: force, free: r.Slots, topics: map[string]*topic{}, hungry: map[*topic]bool{},
		done: make(chan *post, r.Slots), settlements: make(chan Settlement, maxTogether), rate: newRate(r.Rate),
	}
}

// turn starts posts, claims rows for free slots, and returns how long to wait
// for the next event.
func (d *dispatcher) turn() (time.Duration, error) {
	d.accept()
	if err := d.Settler.removeDelivered(d.stopping); err != nil {
		return 0, err
	}
	state := d.Breaker()
	if state == circuit.Open {
		d.nextClaim = time.Time{}
		return office.Pause / 4, nil
	}
	if state == circuit.HalfOpen {
		if left := time.Until(d.probeAfter); left > 0 {
			return left, nil
		}
	}
	d.dropExpired()
	if time.Now().Before(d.nextClaim) {
		d.start(state)
	} // otherwise claim first, which gives new topics a share of the slots
	for d.claims(state) {
		n, err := d.claim(state)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		d.start(state)
	}
	d.start(state)
	switch {
	case d.free == 0:
		return poll, nil
	case state == circuit.HalfOpen: // rows in memory may have to wait
		return max(time.Until(d.nextClaim), office.Pause/4), nil
	}
	return max(time.Until(d.nextClaim), d.rate.wait(), expectMin), nil
}

// claims reports whether to claim now.
func (d *dispatcher) claims(state circuit.State) bool {
	switch {
	case d.stopping.Err() != nil, d.free == 0, d.backlogged(), d.rate.admits(1) == 0:
		return false
	case state == circuit.HalfOpen && (d.probing || d.rows > 0):
		return false
	case !time.Now().Before(d.nextClaim):
		return true
	case d.failing:
		return false
	}
	for t := range d.hungry {
		if d.mayRun(t) {
			return true
		}
	}
	return false
}

// backlogged reports whether so many topics with rows in memory wait for a slot
// that further topics would wait for too long.
func (d *dispatcher) backlogged() bool {
	if len(d.queue) < maxBacklog {
		return false
	}
	waiting := 0
	for _, t := range d.queue {
		if t.running == 0 && !t.slow() {
			waiting++
		}
	}
	return waiting >= maxBacklog
}

// full reports whether too many rows are in memory.
func (d *dispatcher) full() bool { return d.rows >= maxRows || d.bytes >= maxBytes }

// freeCapacity gives back rows while too many are in memory. It chooses the
// topic with the most bytes among the topics with posts in progress and the
// slow topics, because other topics may run now.
func (d *dispatcher) freeCapacity() {
	for d.full() {
		var largest *topic
		largestBytes := int64(0)
		for _, t := range d.topics {
			if bytes := t.bytes(); (t.running > 0 || t.slow()) && bytes > largestBytes {
				largest, largestBytes = t, bytes
			}
		}
		if largest == nil {
			return
		}
		d.release(largest)
	}
}

// claim claims due rows for the free slots, topic by topic, beginning after the
// last topic of the previous claim. It returns their number.
func (d *dispatcher) claim(state circuit.State) (int, error) {
	if d.freeCapacity(); d.full() {
		return 0, nil // the rows in memory come first
	}
	flushed := d.flushes.waiting()
	d.accept() // the rows that were handed over before these calls began
	options := outbox.ClaimOptions{
		Limit: d.free * d.BulkLimit, MaxBytes: max(maxBytes-d.bytes, deliver.MaxBytes),
		Lease: d.Lease(), PerTopic: d.BulkLimit, AfterTopic: d.after,
	}
	options.Limit = d.rate.admits(options.Limit)
	if state == circuit.HalfOpen {
		options.Limit = 1
	}
	for name, t := range d.topics {
		if t.waiting() || !d.mayRun(t) {
			t.more = true
			options.SkipTopics = append(options.SkipTopics, name)
		}
	}
	busy := len(options.SkipTopics) // topics that are claimed when they may run
	if d.Skipped != nil {
		options.SkipTopics = append(options.SkipTopics, d.Skipped()...)
	}
	slices.Sort(options.SkipTopics)
	claimed := time.Now()
	asking, cancel := context.WithTimeout(d.stopping, StoreTimeout)
	defer cancel()
	records, err := d.Store.Claim(asking, options)
	if err != nil {
		return 0, err
	}
	d.failing = false
	n := len(records)
	d.rate.spend(n)
	d.take(d.Settler.take(records), options, d.PostUntil(claimed))
	if n < options.Limit {
		d.caughtUp(options.SkipTopics)
	}
	if n > 0 {
		d.nextClaim = time.Time{} // there may be topics that the claim did not reach
		return n, nil
	}
	next, ok, err := d.Store.Next(asking)
	if !ok || next > 0 || busy == 0 && len(options.SkipTopics) > 0 {
		d.drained(flushed)
	}
	switch {
	case err != nil:
		return 0, err
	case !ok || next <= 0 && len(options.SkipTopics) > 0:
		next = poll // the due rows belong to skipped topics
	case next <= 0:
		next = lockedPause // another transaction has locked the row
	}
	d.nextClaim = time.Now().Add(d.expected(min(next, poll)))
	return 0, nil
}

// take adds claimed rows to their topics.
func (d *dispatcher) take(records []outbox.Record, options outbox.ClaimOptions, until time.Time) {
	for _, t := range d.topics {
		if _, skipped := slices.BinarySearch(options.SkipTopics, t.name); !skipped {
			t.more = false
		}
	}
	for len(records) > 0 {
		n := ofOneTopic(records)
		t := d.add(records[:n], until, false)
		t.more = n >= min(options.PerTopic, options.Limit)
		d.after = t.name
		records = records[n:]
	}
	for name, t := range d.topics {
		d.note(t)
		if d.idle(t) {
			delete(d.topics, name)
		}
	}
}

// ofOneTopic returns the number of leading records with the same topic.
func ofOneTopic(records []outbox.Record) int {
	n := slices.IndexFunc(records, func(r outbox.Record) bool { return r.Topic != records[0].Topic })
	if n < 0 {
		return len(records)
	}
	return n
}

// add adds rows to their topic.
func (d *dispatcher) add(records []outbox.Record, until time.Time, handed bool) *topic {
	name := records[0].Topic
	t := d.topics[name]
	if t == nil {
		t = &topic{name: name}
		d.topics[name] = t
	}
	t.add(records, until, handed)
	d.rows, d.bytes = d.rows+len(records), d.bytes+sizeOf(records)
	d.enqueue(t)
	d.note(t)
	if d.expires.IsZero() || until.Before(d.expires) {
		d.expires = until
	}
	return t
}

// release gives back the waiting rows of topics.
func (d *dispatcher) release(topics ...*topic) {
	var all []outbox.Record
	for _, t := range topics {
		var records []outbox.Record
		for _, g := range slices.Concat(t.newRows, t.failed) {
			records = append(records, g.records...)
			d.begun(t, g, true)
		}
		t.newRows, t.failed = nil, nil
		t.more = t.more || len(records) > 0
		d.rows, d.bytes = d.rows-len(records), d.bytes-sizeOf(records)
		d.unqueue(t)
		d.note(t)
		all = append(all, records...)
	}
	d.Settler.giveBack(d.force, all)
}

// dropExpired gives back rows whose lease is about to end.
func (d *dispatcher) dropExpired() {
	now := time.Now()
	if d.expires.IsZero() || now.Before(d.expires) {
		return
	}
	d.expires = time.Time{}
	var expired []*topic
	for _, t := range d.topics {
		for _, g := range slices.Concat(t.newRows, t.failed) {
			if !now.Before(g.until) {
				expired = append(expired, t)
				break
			}
			if d.expires.IsZero() || g.until.Before(d.expires) {
				d.expires = g.until
			}
		}
	}
	d.release(expired...)
}

// finish waits for the posts in progress and gives back the waiting rows.
func (d *dispatcher) finish() {
	d.closeHanded()
	d.accept()
	d.release(slices.Collect(maps.Values(d.topics))...)
	for d.free < d.Slots {
		d.ended(<-d.done)
	}
	d.release(slices.Collect(maps.Values(d.topics))...)
}
