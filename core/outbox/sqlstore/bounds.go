package sqlstore

import (
	"context"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// countPatience is how long InsertTx waits for a count, which needs a second
// connection beside the transaction's.
const countPatience = time.Second

// insertBounded stores all records or none, within the bounds, and returns the IDs
// of the records that are new.
func (s *Store) insertBounded(ctx context.Context, delay time.Duration, records []outbox.Record) ([]string, error) {
	capacity := s.capacity
	if capacity.old(countAge) {
		if err := s.count(ctx, false); err != nil {
			return nil, err
		}
	}
	if err := capacity.gate.share(ctx); err != nil {
		return nil, err
	}
	err := capacity.reserve(usageOf(records))
	if err == nil {
		defer capacity.gate.leave()
		return s.insertReserved(ctx, delay, records, usageOf(records))
	}
	capacity.gate.leave()

	// Near the bound, an exact answer needs to know which records exist already,
	// while no other call of this store inserts.
	if err := capacity.gate.hold(ctx); err != nil {
		return nil, err
	}
	defer capacity.gate.release()
	missing, err := s.newRecords(ctx, records)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	full := capacity.reserve(usageOf(missing))
	if full != nil && !capacity.sure() {
		if err := s.count(ctx, true); err != nil {
			return nil, err
		}
		full = capacity.reserve(usageOf(missing))
	}
	if full != nil {
		return nil, full
	}
	return s.insertReserved(ctx, delay, missing, usageOf(missing))
}

// insertReserved inserts records for which capacity is reserved.
func (s *Store) insertReserved(ctx context.Context, delay time.Duration, records []outbox.Record, reserved usage) ([]string, error) {
	inserted, err := s.insert(ctx, delay, records)
	result := unclear
	switch {
	case err == nil && len(inserted) == len(records):
		result = kept
	case err != nil && s.undid(err):
		result = dropped
	}
	s.capacity.settle(reserved, result)
	return inserted, err
}

// undid reports whether the database has certainly undone the failed statement.
func (s *Store) undid(err error) bool {
	switch s.table.Classify(err) {
	case sqltable.Other, sqltable.Unfit, sqltable.Lost:
		return false
	default:
		return true
	}
}

// newRecords returns the records that are not in the table, each ID and key once.
func (s *Store) newRecords(ctx context.Context, records []outbox.Record) ([]outbox.Record, error) {
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
	var missing []outbox.Record
	for _, record := range records {
		key := record.DedupKey
		if ids[record.ID] || hasKey(record) && (ids[key] || keys[key]) {
			continue
		}
		ids[record.ID], keys[key] = true, true
		missing = append(missing, record)
	}
	return missing, nil
}

// presentText returns the query for the values that exist in a column.
func (s *Store) presentText(v *values, column string, list []string) string {
	return "SELECT " + column + " FROM " + s.table.SQL() + " WHERE " + column + v.among(list) + v.planned()
}

// present returns which of the values exist in a column.
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

// count counts the table. If exact is set, the caller holds the gate. Otherwise
// count does nothing while another count is in progress.
func (s *Store) count(ctx context.Context, exact bool) error {
	start, ok := s.capacity.begin(exact)
	if !ok {
		return nil
	}
	var found usage
	query, args := s.totalQuery()
	_, err := first(ctx, s.db, query, args, &found.records, &found.bytes)
	s.capacity.end(start, found, err)
	return err
}

// recount counts the table again if the last count is old. The relay calls it, so
// that an insert does not have to wait for a count.
func (s *Store) recount(ctx context.Context) {
	if s.capacity != nil && s.capacity.old(countAge/2) {
		// An insert that needs the count reports the error.
		_ = s.count(ctx, false)
	}
}

// reserveTx reserves capacity for an insert in the caller's transaction. The store
// does not learn whether it commits, so the records count until the next count.
func (s *Store) reserveTx(ctx context.Context, records []outbox.Record) error {
	capacity := s.capacity
	reserve := func() error {
		err := capacity.reserve(usageOf(records))
		if err == nil {
			capacity.settle(usageOf(records), unclear)
		}
		return err
	}
	never := capacity.old(time.Duration(1<<63 - 1))
	if !never {
		if err := reserve(); err == nil {
			return nil
		}
	}
	// The pool may be too small for a second connection.
	pool := s.db.Stats()
	if capacity.old(fullAge) && (pool.MaxOpenConnections == 0 || pool.InUse < pool.MaxOpenConnections) {
		patient, cancel := context.WithTimeout(ctx, countPatience)
		_ = s.count(patient, false)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return reserve()
}
