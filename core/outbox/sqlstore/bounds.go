package sqlstore

import (
	"context"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// countPatience is how long InsertTx waits for a count, which needs a
// connection beside that of the transaction.
const countPatience = time.Second

// insertBounded stores all records or none, within the bounds, and returns the IDs
// of those that were not left out.
func (s *Store) insertBounded(ctx context.Context, delay time.Duration, records []outbox.Record) ([]string, error) {
	room := s.room
	if room.old(countAge) {
		if err := s.count(ctx, false); err != nil {
			return nil, err
		}
	}
	if err := room.gate.share(ctx); err != nil {
		return nil, err
	}
	err := room.reserve(usageOf(records))
	if err == nil {
		defer room.gate.leave()
		return s.insertReserved(ctx, delay, records, usageOf(records))
	}
	room.gate.leave()

	// Near the bound it matters which of them are there already, and nobody
	// else of this store inserts.
	if err := room.gate.hold(ctx); err != nil {
		return nil, err
	}
	defer room.gate.release()
	fresh, err := s.fresh(ctx, records)
	if err != nil || len(fresh) == 0 {
		return nil, err
	}
	full := room.reserve(usageOf(fresh))
	if full != nil && !room.sure() {
		if err := s.count(ctx, true); err != nil {
			return nil, err
		}
		full = room.reserve(usageOf(fresh))
	}
	if full != nil {
		return nil, full
	}
	return s.insertReserved(ctx, delay, fresh, usageOf(fresh))
}

// insertReserved inserts records for which room is reserved.
func (s *Store) insertReserved(ctx context.Context, delay time.Duration, records []outbox.Record, reserved usage) ([]string, error) {
	inserted, err := s.insert(ctx, delay, records)
	result := unclear
	switch {
	case err == nil && len(inserted) == len(records):
		result = kept
	case err != nil && s.undid(err):
		result = dropped
	}
	s.room.settle(reserved, result)
	return inserted, err
}

// undid tells whether the database surely has not carried out what has failed.
func (s *Store) undid(err error) bool {
	switch s.table.Classify(err) {
	case sqltable.Other, sqltable.Unfit, sqltable.Lost:
		return false
	default:
		return true
	}
}

// fresh returns the records that are not in the table, each ID and key once.
func (s *Store) fresh(ctx context.Context, records []outbox.Record) ([]outbox.Record, error) {
	var names, keyNames []string
	for _, record := range records {
		names = append(names, record.ID)
		if hasKey(record) {
			names, keyNames = append(names, record.DedupKey), append(keyNames, record.DedupKey)
		}
	}
	ids, err := s.present(ctx, "id", names)
	if err != nil {
		return nil, err
	}
	keys, err := s.present(ctx, "dedup_key", keyNames)
	if err != nil {
		return nil, err
	}
	var fresh []outbox.Record
	for _, record := range records {
		key := record.DedupKey
		if ids[record.ID] || hasKey(record) && (ids[key] || keys[key]) {
			continue
		}
		ids[record.ID], keys[key] = true, true
		fresh = append(fresh, record)
	}
	return fresh, nil
}

// presentText returns the query for those of some values that a column has.
func (s *Store) presentText(v *values, column string, list []string) string {
	return "SELECT " + column + " FROM " + s.table.SQL() + " WHERE " + column + v.among(list) + v.planned()
}

// present returns which of some values a column has.
func (s *Store) present(ctx context.Context, column string, list []string) (map[string]bool, error) {
	found := make(map[string]bool, len(list))
	for group := range parts(s, sorted(list), listed, weightID) {
		v := s.dialect.querying()
		query := s.presentText(v, column, group)
		err := each(ctx, s.db, query, v.args, func(scan func(...any) error) error {
			var value string
			err := scan(&value)
			found[value] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// count counts the table. Unless it must be exact, for which the caller holds
// the gate, a count that is going on already is left to itself.
func (s *Store) count(ctx context.Context, exact bool) error {
	start, ok := s.room.begin(exact)
	if !ok {
		return nil
	}
	var found usage
	query, args := s.totalQuery()
	_, err := first(ctx, s.db, query, args, &found.records, &found.bytes)
	s.room.end(start, found, err)
	return err
}

// recount counts the table anew if the last count is old. The relay, which
// nobody waits for, does it here before an insert has to.
func (s *Store) recount(ctx context.Context) {
	if s.room != nil && s.room.old(countAge/2) {
		// An insert that needs the count finds out what is wrong.
		_ = s.count(ctx, false)
	}
}

// reserveTx makes room for an insert whose transaction is the caller's. Whether
// it commits is not known, so it counts as kept until the next count.
func (s *Store) reserveTx(ctx context.Context, records []outbox.Record) error {
	room := s.room
	reserve := func() error {
		err := room.reserve(usageOf(records))
		if err == nil {
			room.settle(usageOf(records), unclear)
		}
		return err
	}
	never := room.old(time.Duration(1<<63 - 1))
	if !never {
		if err := reserve(); err == nil {
			return nil
		}
	}
	// The pool may be too small for a connection beside the transaction's.
	pool := s.db.Stats()
	if room.old(fullAge) && (pool.MaxOpenConnections == 0 || pool.InUse < pool.MaxOpenConnections) {
		patient, cancel := context.WithTimeout(ctx, countPatience)
		_ = s.count(patient, false)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return reserve()
}
