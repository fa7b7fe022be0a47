package memory

import (
	"context"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// InsertNew stores all records or none, and reports which of them are new.
func (s *Store) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	return s.insert(ctx, delay, records)
}

// Finish removes records and remembers their keys for a time.
func (s *Store) Finish(ctx context.Context, keep time.Duration, ids ...string) (int, error) {
	if err := outbox.ValidateFinish(keep, ids...); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	until := time.Now().Add(keep)
	for _, id := range ids {
		if record := s.records[id]; record != nil && record.DedupKey != "" {
			s.kept[record.DedupKey] = until
		}
	}
	return s.remove(ids), nil
}

// Forget removes keys whose time has ended. It visits all remembered keys.
func (s *Store) Forget(ctx context.Context, limit int) (int, error) {
	if err := outbox.ValidateForget(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	now, forgotten := time.Now(), 0
	for key, until := range s.kept {
		if forgotten < limit && !until.After(now) {
			delete(s.kept, key)
			forgotten++
		}
	}
	return forgotten, nil
}
