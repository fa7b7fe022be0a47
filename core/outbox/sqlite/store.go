package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/bound"
	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Store is an outbox in a file. It is safe for concurrent use. Create one with
// [Open].
type Store struct {
	path  string
	lost  atomic.Pointer[loss] // nil while the files are intact
	limit bound.Load
	clock clock

	walker    topicwalk.Walker
	writer    *writer
	requests  chan *request
	closeOnce sync.Once
	closing   chan struct{}
	closed    chan struct{}
	closeErr  error
}

var (
	_ outbox.Failing      = (*Store)(nil)
	_ outbox.Keeper       = (*Store)(nil)
	_ outbox.CommitSharer = (*Store)(nil)
)

// Close waits for the calls in progress, merges NAME-wal into the database and
// releases the file. Every later call fails with [outbox.ErrClosed]. Closing again
// waits for the first Close and returns its result.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	<-s.closed
	return s.closeErr
}

// Check reports whether the files are intact and the database is writable. It is
// cheap: it writes nothing to the disk.
func (s *Store) Check(ctx context.Context) error {
	return s.write(ctx, func(w *writer) error {
		if w.doubt != nil {
			return w.doubt
		}
		var due int64
		_, err := w.row(selectNext, nil, &due)
		return err
	})
}

// Insert stores all records or none. A negative delay counts as zero. IDs have up to
// 255 bytes. A Dead record has no holder.
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	_, err := s.insert(ctx, delay, records)
	return err
}

// insert stores all records or none, and reports which are new.
func (s *Store) insert(ctx context.Context, delay time.Duration, records []outbox.Record) ([]bool, error) {
	if err := outbox.ValidateRecords(records...); err != nil {
		return nil, err
	}
	inserted := make([]bool, len(records))
	var full error
	err := s.keep(ctx, func(w *writer) error {
		if w.doubt != nil {
			return w.doubt
		}
		var err error
		if full, err = w.capacity(records); full != nil || err != nil {
			return err
		}
		return w.insertAll(delay, records, inserted)
	})
	if err = cmp.Or(err, full); err != nil {
		return nil, err
	}
	return inserted, nil
}

// capacity returns ErrFull or ErrNeverFits, and changes nothing, if records exceed a
// bound.
func (w *writer) capacity(records []outbox.Record) (full, err error) {
	held := bound.Load{Records: w.counts.records(), Bytes: w.counts.bytes}
	exceeded := func(n int, bytes int64) error {
		return bound.Check(w.store.limit, held, bound.Load{Records: n, Bytes: bytes})
	}
	var bytes int64
	for _, record := range records {
		bytes += record.Size()
	}
	if exceeded(len(records), bytes) == nil {
		return nil, nil
	}
	// Near the bound, an exact answer needs to know which records exist already.
	added, ids, keys := 0, make(map[string]bool), make(map[string]bool)
	bytes = 0
	for _, record := range records {
		exists, err := w.exists(record)
		if err != nil {
			return nil, err
		}
		key := record.DedupKey
		if exists || ids[record.ID] || key != "" && (ids[key] || keys[key]) {
			continue
		}
		ids[record.ID], keys[key] = true, true
		added++
		bytes += record.Size()
	}
	if added == 0 {
		return nil, nil
	}
	return exceeded(added, bytes), nil
}

// exists reports whether the ID of a record is in the store, or another record holds
// its key.
func (w *writer) exists(record outbox.Record) (bool, error) {
	exists, err := w.row(selectByID, []any{record.ID}, new(int64), new(string), new(int), new(int64))
	if err != nil || exists || record.DedupKey == "" {
		return exists, err
	}
	return w.row(selectHolder, []any{record.DedupKey}, new(string))
}

// insertAll stores records that are due after a delay, and reports which are new.
func (w *writer) insertAll(delay time.Duration, records []outbox.Record, inserted []bool) error {
	now := w.store.clock.now()
	for i, record := range records {
		n, err := w.insert(now, delay, record)
		if err != nil {
			return err
		}
		inserted[i] = n > 0
	}
	return nil
}

// insert stores a record unless it exists, and returns how many it has stored.
func (w *writer) insert(now time.Time, delay time.Duration, record outbox.Record) (int, error) {
	var deliverAt sql.NullInt64
	if !record.DeliverAt.IsZero() {
		// Round up: consumers must not get the message earlier.
		deliverAt = sql.NullInt64{Int64: record.DeliverAt.Add(time.Microsecond - 1).UnixMicro(), Valid: true}
	}
	if record.State == outbox.Dead {
		record.LeaseToken = ""
	}
	key := sql.NullString{String: record.DedupKey, Valid: record.DedupKey != ""}
	statement := insertRecord
	if key.Valid {
		statement = insertKeyed
	}
	n, err := w.change(statement, record.ID, int(record.State), later(now, delay), record.LeaseToken, record.Attempts,
		now.UnixMicro(), deliverAt, record.Size(), record.Topic, record.LastError,
		blob(record.Attributes), blob(record.Payload), key)
	if err == nil && n > 0 {
		w.counts.add(record.State, 1, record.Size())
	}
	return n, err
}

// later returns now plus delay in microseconds.
func later(now time.Time, delay time.Duration) int64 {
	micros := max(delay, 0) / time.Microsecond
	if delay > micros*time.Microsecond {
		micros++
	}
	return now.UnixMicro() + int64(micros)
}

// blob returns bytes that are never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// scanRecord reads the columns of a record, and additional ones after them.
func scanRecord(scan func(...any) error, more ...any) (seq int64, record outbox.Record, err error) {
	var dueAt, createdAt int64
	var deliverAt sql.NullInt64
	var key sql.NullString
	err = scan(append([]any{&seq, &record.ID, &key, (*int)(&record.State), &dueAt, &record.LeaseToken, &record.Attempts, &createdAt,
		&deliverAt, &record.Topic, &record.LastError, (*[]byte)(&record.Attributes), (*[]byte)(&record.Payload)}, more...)...)
	record.DedupKey = key.String
	record.DueAt = time.UnixMicro(dueAt).UTC()
	record.CreatedAt = time.UnixMicro(createdAt).UTC()
	if deliverAt.Valid {
		record.DeliverAt = time.UnixMicro(deliverAt.Int64).UTC()
	}
	return seq, record, err
}

// Claim leases due records, the longest due first and then by ID, or topic by topic.
// Its cost depends on the number of records that it returns, not on the number that
// wait; with SkipScheduled, also on the due records that it skips, and with PerTopic
// on the topics without due records that it passes, both by an index.
func (s *Store) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	var claimed []outbox.Record
	err := s.write(ctx, func(w *writer) error {
		var err error
		claimed, err = w.claim(options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

func (w *writer) claim(options outbox.ClaimOptions) ([]outbox.Record, error) {
	c := claim{writer: w, options: options, now: w.store.clock.now()}
	if err := c.find(); err != nil {
		return nil, err
	}
	return c.lease()
}

// Delete removes records, regardless of who holds them.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	deleted := 0
	err := s.write(ctx, func(w *writer) error {
		deleted = 0
		remove := func(query string, args []any) error {
			return w.rows(query, args, func(scan func(...any) error) (bool, error) {
				var state outbox.State
				var size int64
				if err := scan((*int)(&state), &size); err != nil {
					return false, err
				}
				deleted++
				w.counts.add(state, -1, -size)
				return true, nil
			})
		}
		for group := range slices.Chunk(ids, deleteMany) {
			query, args := deleteRecord, make([]any, 1, deleteMany)
			if len(group) > deleteMany/10 {
				query, args = deleteRecords, args[:deleteMany]
			}
			for start := 0; start < len(group); start += len(args) {
				for i := range args {
					args[i] = group[min(start+i, len(group)-1)] // repeats the last one as padding
				}
				if err := remove(query, args); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// Reschedule gives claimed records back or renews their leases. A negative wait
// counts as zero.
func (s *Store) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	changed := 0
	err := s.write(ctx, func(w *writer) error {
		changed = 0
		now := w.store.clock.now()
		for _, change := range changes {
			hold, untried, state := 0, 0, outbox.Pending
			if change.Hold && !change.Dead {
				hold = 1
			}
			if change.Untried {
				untried = 1
			}
			if change.Dead {
				state = outbox.Dead
			}
			var size int64
			ok, err := w.row(rescheduleRecord, []any{hold, later(now, change.After), untried, change.LastError,
				change.LastError, int(state), change.ID, change.LeaseToken}, &size)
			if err != nil {
				return err
			}
			if ok {
				changed++
				w.counts.add(outbox.Pending, -1, -size)
				w.counts.add(state, 1, size)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// Next returns how long it takes until the first pending record is due.
func (s *Store) Next(ctx context.Context) (time.Duration, bool, error) {
	var wait time.Duration
	var pending bool
	err := s.read(ctx, func(w *writer) error {
		var dueAt int64
		var err error
		pending, err = w.row(selectNext, nil, &dueAt)
		wait = time.Duration(max(dueAt-s.clock.now().UnixMicro(), 0)) * time.Microsecond
		return err
	})
	if err != nil || !pending {
		return 0, false, err
	}
	return wait, true, nil
}

// Stats counts the records. Pending, Dead and Bytes are kept up to date with every
// change; the cost of Held is the number of held records, and that of Oldest is
// negligible.
func (s *Store) Stats(ctx context.Context) (outbox.Stats, error) {
	var stats outbox.Stats
	err := s.read(ctx, func(w *writer) error {
		stats = outbox.Stats{Pending: w.counts.pending, Dead: w.counts.dead, Bytes: w.counts.bytes}
		if _, err := w.row(countHeld, []any{s.clock.now().UnixMicro()}, &stats.Held); err != nil {
			return err
		}
		var createdAt int64
		ok, err := w.row(selectOldest, nil, &createdAt)
		if ok {
			stats.Oldest = time.UnixMicro(createdAt).UTC()
			stats.Age = max(s.clock.now().Sub(stats.Oldest), 0)
		}
		return err
	})
	if err != nil {
		return outbox.Stats{}, err
	}
	return stats, nil
}
