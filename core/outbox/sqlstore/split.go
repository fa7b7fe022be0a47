package sqlstore

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of one statement. The rows of an insert bound its parameters: SQLite allows
// 32766, the other databases 65535.
const (
	insertRows     = 256
	statementBytes = 4 << 20
)

// cautious is the size in bytes up to which a statement is sent without knowing the
// server's limit.
const cautious = 64 << 10

// packet is the known limit for statements, in bytes. MySQL rejects
// statements above max_allowed_packet: it closes the connection while the statement
// is still being sent, so that the reason may get lost. Its driver rejects
// statements above maxAllowedPacket.
type packet struct {
	allowed atomic.Int64 // max_allowed_packet; zero if unknown
	limit   atomic.Int64 // for a statement with several rows; zero if unknown
}

// learnPacket asks the server for its limit.
func (s *Store) learnPacket(ctx context.Context) {
	var allowed int64
	found, err := first(ctx, s.db, "SELECT @@max_allowed_packet", nil, &allowed)
	if err == nil && found {
		s.packet.allowed.Store(allowed)
		// A driver that interpolates values doubles quotes.
		s.packet.limit.Store(min(statementBytes, allowed/2))
	}
}

// statementLimit is the maximum size, in bytes, of a statement with several rows.
func (s *Store) statementLimit() int64 {
	switch limit := s.packet.limit.Load(); {
	case limit > 0:
		return limit
	case s.dialect == MySQL:
		return cautious
	default:
		return statementBytes
	}
}

// knowPacket learns the limit if the insert needs it.
func (s *Store) knowPacket(ctx context.Context, records []outbox.Record) {
	if s.dialect == MySQL && s.packet.limit.Load() == 0 && total(records) > cautious {
		s.learnPacket(ctx)
	}
}

// lowered reports whether the server's limit is lower than known, after a statement
// with these records has failed and that may be the reason.
func (s *Store) lowered(ctx context.Context, records []outbox.Record) bool {
	if s.dialect != MySQL || ctx.Err() != nil || total(records) <= cautious {
		return false
	}
	before := s.packet.allowed.Load()
	s.learnPacket(ctx)
	return s.packet.allowed.Load() < before
}

// oversized returns the error for a record that is too large for a statement. err is
// the error of the database, if there is one.
func (s *Store) oversized(record outbox.Record, err error) error {
	text := fmt.Sprintf("the record %s has %d bytes, more than the database accepts in a statement", record.ID, record.Size())
	if allowed := s.packet.allowed.Load(); allowed > 0 {
		text += fmt.Sprintf(" (max_allowed_packet is %d)", allowed)
	}
	if err == nil {
		return fmt.Errorf("%w: %s", outbox.ErrInvalid, text)
	}
	return fmt.Errorf("%w: %s: %w", outbox.ErrInvalid, text, err)
}

// refuseOversized rejects a record that is larger than a statement may be.
func (s *Store) refuseOversized(ctx context.Context, records []outbox.Record) error {
	tooLarge := func(record outbox.Record) bool {
		allowed := s.packet.allowed.Load()
		return allowed > 0 && record.Size() >= allowed
	}
	if !slices.ContainsFunc(records, tooLarge) {
		return nil
	}
	s.learnPacket(ctx) // the limit may have been raised
	if i := slices.IndexFunc(records, tooLarge); i >= 0 {
		return s.oversized(records[i], nil)
	}
	return nil
}

// sizeError is the error of an insert of several records that the database rejected
// because of its size.
type sizeError struct {
	weight int64 // the weight of the statement's records
	err    error
}

func (e *sizeError) Error() string { return e.err.Error() }
func (e *sizeError) Unwrap() error { return e.err }

// refused converts the error of a statement that is too large to a sizeError. If the
// statement has one record, the error names it.
func (s *Store) refused(err error, records []outbox.Record) error {
	switch {
	case s.table.Classify(err) != sqltable.TooLarge:
		return err
	case len(records) == 1:
		return s.oversized(records[0], err)
	}
	return &sizeError{total(records), err}
}

// weight is the approximate size, in bytes, of a record in an insert statement.
func weight(record outbox.Record) int64 {
	// The SQL text and numbers of a row, and of a padding row.
	const text = 768
	return record.Size() + int64(len(record.ID)+len(record.DedupKey)+len(record.LeaseToken)+2*len(record.LastError)) + text
}

// total is the weight of records together.
func total(records []outbox.Record) (sum int64) {
	for _, record := range records {
		sum += weight(record)
	}
	return sum
}

// weightID is the approximate size, in bytes, of an ID in a list.
func weightID(id string) int64 { return int64(2*len(id) + 40) }

// weightChange is the approximate size, in bytes, of a change in a statement.
func weightChange(c outbox.Change) int64 {
	return int64(2*(len(c.ID)+len(c.LeaseToken)+len(c.LastError)) + 128)
}

// chunk returns how many of the records the next insert statement carries. A record
// with a key has its own statement, unless statements look up the holders of keys.
func (in inserter) chunk(records []outbox.Record, limit int64) int {
	n := part(records, insertRows, limit, weight)
	if in.ask != nil {
		return n
	}
	if i := slices.IndexFunc(records[:n], hasKey); i >= 0 {
		return max(i, 1)
	}
	return n
}

// part returns how many items of a list one statement carries, at least one.
func part[T any](list []T, maxItems int, limit int64, weigh func(T) int64) int {
	var bytes int64
	for i, one := range list {
		bytes += weigh(one)
		if i == maxItems || i > 0 && bytes > limit {
			return i
		}
	}
	return len(list)
}

// parts returns the parts of a list, one for each statement.
func parts[T any](s *Store, list []T, maxItems int, weigh func(T) int64) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(list) > 0 {
			n := part(list, maxItems, s.statementLimit(), weigh)
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// doer is Store.do or Store.write.
type doer func(ctx context.Context, what string, run func() error) error

// inParts calls run for parts of a list, each by Store.do or, for changes, by
// Store.write. It halves a part that turns out to be too large.
func inParts[T any](ctx context.Context, s *Store, do doer, what string, list []T, maxItems int, weigh func(T) int64, run func([]T) error) error {
	for part := range parts(s, list, maxItems, weigh) {
		if err := inHalves(ctx, s, do, what, part, run); err != nil {
			return err
		}
	}
	return nil
}

func inHalves[T any](ctx context.Context, s *Store, do doer, what string, part []T, run func([]T) error) error {
	err := do(ctx, what, func() error { return run(part) })
	if len(part) == 1 || s.table.Classify(err) != sqltable.TooLarge {
		return err
	}
	middle := len(part) / 2
	if err := inHalves(ctx, s, do, what, part[:middle], run); err != nil {
		return err
	}
	return inHalves(ctx, s, do, what, part[middle:], run)
}

// askBeside learns what an insert in a transaction of the caller needs to know of
// the database. It needs a second connection; if the pool may not have one, it does
// nothing.
func (s *Store) askBeside(ctx context.Context, records []outbox.Record) {
	pool := s.db.Stats()
	if pool.MaxOpenConnections > 0 && pool.InUse >= pool.MaxOpenConnections {
		return
	}
	patient, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	if slices.ContainsFunc(records, foreign) {
		s.learnEncoding(patient)
	}
	s.knowPacket(patient, records)
}
