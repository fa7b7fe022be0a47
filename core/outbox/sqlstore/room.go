package sqlstore

import (
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/bound"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// How long a count of the table is believed. Counting takes as long as there are
// many rows, so a count that took long is believed for longer: at most a
// twentieth of the time goes into counting.
const (
	// countAge is for a count that shows enough room.
	countAge = 10 * time.Second
	// fullAge is for a count that shows too little.
	fullAge   = time.Second
	countPart = 20
)

// room keeps a store within its bounds without counting the table at every
// insert: it knows a count, adds what this store has inserted since and takes
// away what it has deleted. That is never less than the table holds, but for
// what other stores have inserted since the count.
type room struct {
	limit bound.Load

	// gate is shared by inserts that fit by the estimate, and held for a
	// count that must be exact.
	gate gate

	mutex sync.Mutex
	// known is the estimate, surely no less than the truth as far as this
	// store has changed it.
	known usage
	// over is set if the estimate may be more than the truth.
	over bool
	// added is all that was ever reserved, flying what of it is not settled.
	added, flying usage
	// counted is when the last count was taken, took how long that took, and
	// counting is set while one is going on.
	counted  time.Time
	took     time.Duration
	counting bool
}

// usage is what bounds are about.
type usage struct{ records, bytes int64 }

func (u usage) plus(v usage) usage  { return usage{u.records + v.records, u.bytes + v.bytes} }
func (u usage) minus(v usage) usage { return usage{u.records - v.records, u.bytes - v.bytes} }

func (u usage) load() bound.Load { return bound.Load{Records: int(u.records), Bytes: u.bytes} }

// usageOf is what records take.
func usageOf(records []outbox.Record) usage {
	u := usage{records: int64(len(records))}
	for _, record := range records {
		u.bytes += record.Size()
	}
	return u
}

func newRoom(maxRecords int, maxBytes int64) *room {
	return &room{limit: bound.Load{Records: maxRecords, Bytes: maxBytes}}
}

// reserve adds to the estimate if it fits, or returns ErrFull or ErrNeverFits.
// Call settle afterwards.
func (r *room) reserve(u usage) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := bound.Check(r.limit, r.known.load(), u.load()); err != nil {
		return err
	}
	r.known, r.added, r.flying = r.known.plus(u), r.added.plus(u), r.flying.plus(u)
	return nil
}

// outcome is what is known of an insert.
type outcome int

const (
	// kept means that every record was inserted.
	kept outcome = iota
	// dropped means that none was.
	dropped
	// unclear means that some may have been.
	unclear
)

// settle tells what became of a reservation.
func (r *room) settle(u usage, o outcome) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.flying = r.flying.minus(u)
	switch o {
	case dropped:
		r.known = r.known.minus(u)
	case unclear:
		r.over = true
	}
}

// removed tells how many rows were deleted. Just before, so many records of so
// many bytes were there to be deleted, if bytes are bounded.
func (r *room) removed(n, records int, bytes int64, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.counted.IsZero() {
		return
	}
	u := usage{records: int64(n)}
	if n == records {
		u.bytes = bytes
	}
	r.known = r.known.minus(u)
	// Others may have inserted what was deleted here.
	r.known.records, r.known.bytes = max(r.known.records, 0), max(r.known.bytes, 0)
	r.over = r.over || err != nil || r.limit.Bytes > 0 && n != records
}

// old reports whether the last count is older than an age.
func (r *room) old(age time.Duration) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.counted.IsZero() || time.Since(r.counted) > max(age, countPart*r.took)
}

// sure reports whether a count would not show more room.
func (r *room) sure() bool {
	r.mutex.Lock()
	over := r.over
	r.mutex.Unlock()
	return !over && !r.old(fullAge)
}

// begin starts a count, unless one is going on that need not be waited for.
func (r *room) begin(exact bool) (start counting, ok bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.counting && !exact {
		return counting{}, false
	}
	r.counting = true
	// What is in flight may or may not be counted.
	return counting{at: time.Now(), added: r.added.minus(r.flying)}, true
}

// counting is the state at the start of a count.
type counting struct {
	at    time.Time
	added usage
}

// end takes the result of a count. What was inserted meanwhile is added, so it
// may be there twice; what was deleted meanwhile is not taken away.
func (r *room) end(start counting, found usage, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.counting = false
	if err != nil {
		return
	}
	since := r.added.minus(start.added)
	r.known = found.plus(since)
	r.over = since != usage{}
	r.counted, r.took = start.at, time.Since(start.at)
}
