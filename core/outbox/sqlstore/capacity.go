package sqlstore

import (
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/bound"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// How long a count of the table is valid. Counting time is proportional to the
// number of rows, so a count that took long is valid for longer: at most a twentieth
// of the time is spent on counting.
const (
	// countAge is for a count that leaves enough capacity.
	countAge = 10 * time.Second
	// fullAge is for a count that does not.
	fullAge   = time.Second
	countPart = 20
)

// capacity keeps a store within its bounds without counting the table at every
// insert: it adds inserts of this store to the last count and subtracts its
// deletions. The estimate is never less than the number of rows in the table, except
// for rows that other stores have inserted since the count.
type capacity struct {
	limit bound.Load

	// gate is shared by inserts that fit by the estimate, and held for an exact
	// count.
	gate gate

	mutex sync.Mutex
	// known is the estimate. It is an upper bound for the rows of this store.
	known usage
	// over is set if the estimate may exceed the real number.
	over bool
	// added is everything reserved so far, flying the part that is not settled yet.
	added, flying usage
	// counted is the time of the last count, took its duration, and counting is set
	// while a count is in progress.
	counted  time.Time
	took     time.Duration
	counting bool
}

// usage is the number of records and the sum of their sizes.
type usage struct{ records, bytes int64 }

func (u usage) plus(v usage) usage  { return usage{u.records + v.records, u.bytes + v.bytes} }
func (u usage) minus(v usage) usage { return usage{u.records - v.records, u.bytes - v.bytes} }

func (u usage) load() bound.Load { return bound.Load{Records: int(u.records), Bytes: u.bytes} }

// usageOf returns the usage of records.
func usageOf(records []outbox.Record) usage {
	u := usage{records: int64(len(records))}
	for _, record := range records {
		u.bytes += record.Size()
	}
	return u
}

func newCapacity(maxRecords int, maxBytes int64) *capacity {
	return &capacity{limit: bound.Load{Records: maxRecords, Bytes: maxBytes}}
}

// reserve adds to the estimate if it fits, or returns ErrFull or ErrNeverFits. Call
// settle afterwards.
func (c *capacity) reserve(u usage) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err := bound.Check(c.limit, c.known.load(), u.load()); err != nil {
		return err
	}
	c.known, c.added, c.flying = c.known.plus(u), c.added.plus(u), c.flying.plus(u)
	return nil
}

// outcome is the known result of an insert.
type outcome int

const (
	// kept means that every record was inserted.
	kept outcome = iota
	// dropped means that no record was inserted.
	dropped
	// unclear means that some records may have been inserted.
	unclear
)

// settle reports the outcome of a reservation.
func (c *capacity) settle(u usage, o outcome) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.flying = c.flying.minus(u)
	switch o {
	case dropped:
		c.known = c.known.minus(u)
	case unclear:
		c.over = true
	}
}

// removed reports how many rows were deleted. If bytes are bounded, the records to
// delete had the given number and bytes just before.
func (c *capacity) removed(n, records int, bytes int64, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.counted.IsZero() {
		return
	}
	u := usage{records: int64(n)}
	if n == records {
		u.bytes = bytes
	}
	c.known = c.known.minus(u)
	// Other stores may have inserted as much as was deleted here.
	c.known.records, c.known.bytes = max(c.known.records, 0), max(c.known.bytes, 0)
	c.over = c.over || err != nil || c.limit.Bytes > 0 && n != records
}

// old reports whether the last count is older than an age.
func (c *capacity) old(age time.Duration) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.counted.IsZero() || time.Since(c.counted) > max(age, countPart*c.took)
}

// sure reports whether a new count would not show more capacity.
func (c *capacity) sure() bool {
	c.mutex.Lock()
	over := c.over
	c.mutex.Unlock()
	return !over && !c.old(fullAge)
}

// begin starts a count, unless one is in progress that the caller need not wait for.
func (c *capacity) begin(exact bool) (start counting, ok bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.counting && !exact {
		return counting{}, false
	}
	c.counting = true
	// Inserts in progress may or may not be counted.
	return counting{at: time.Now(), added: c.added.minus(c.flying)}, true
}

// counting is the state at the start of a count.
type counting struct {
	at    time.Time
	added usage
}

// end takes the result of a count. It adds inserts made during the count, which may
// then count twice, and does not subtract deletions made during the count.
func (c *capacity) end(start counting, found usage, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.counting = false
	if err != nil {
		return
	}
	since := c.added.minus(start.added)
	c.known = found.plus(since)
	c.over = since != usage{}
	c.counted, c.took = start.at, time.Since(start.at)
}
