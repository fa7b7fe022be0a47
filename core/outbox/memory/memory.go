package memory

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/bound"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Option sets a bound of a store.
type Option func(*Store)

// WithMaxRecords bounds the number of records. An Insert beyond the bound fails with
// [outbox.ErrFull]. Zero or less, and the default, mean no bound.
func WithMaxRecords(n int) Option {
	return func(s *Store) { s.limit.Records = n }
}

// WithMaxBytes bounds the sum of the records' sizes in bytes. An Insert beyond the
// bound fails with [outbox.ErrFull]. Zero or less, and the default, mean no bound.
func WithMaxBytes(n int64) Option {
	return func(s *Store) { s.limit.Bytes = n }
}

// Store keeps records in memory. It is safe for concurrent use. It copies records on
// the way in and out, so callers may modify theirs. Create one with [New].
type Store struct {
	limit bound.Load

	mutex   sync.Mutex
	records map[string]*outbox.Record // replaced, never changed
	keys    map[string]string         // the ID of the record that holds each DedupKey
	// kept maps each remembered key to the end of its time.
	kept   map[string]time.Time
	bytes  int64
	closed bool
}

var _ outbox.Keeper = (*Store)(nil)

// New returns an empty store. Nil options are ignored.
func New(options ...Option) *Store {
	s := &Store{records: make(map[string]*outbox.Record), keys: make(map[string]string), kept: make(map[string]time.Time)}
	for _, option := range options {
		if option != nil {
			option(s)
		}
	}
	return s
}

// Close removes all records and makes every later call fail with [outbox.ErrClosed].
// It always returns nil. Closing again has no effect.
func (s *Store) Close() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.closed, s.records, s.keys, s.kept, s.bytes = true, nil, nil, nil, 0
	return nil
}

// lock locks the store if it is open. The caller unlocks it.
func (s *Store) lock(ctx context.Context) error {
	s.mutex.Lock()
	err := ctx.Err()
	if s.closed {
		err = outbox.ErrClosed
	}
	if err != nil {
		s.mutex.Unlock()
	}
	return err
}

// Check reports whether the store is open.
func (s *Store) Check(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	s.mutex.Unlock()
	return nil
}

// Insert stores all records or none. A negative delay counts as zero.
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	_, err := s.insert(ctx, delay, records)
	return err
}

// insert stores all records or none, and reports which of them are new.
func (s *Store) insert(ctx context.Context, delay time.Duration, records []outbox.Record) ([]bool, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mutex.Unlock()
	if err := outbox.ValidateRecords(records...); err != nil {
		return nil, err
	}
	inserted := make([]bool, len(records))
	now := time.Now()
	added, keys := make(map[string]*outbox.Record, len(records)), make(map[string]string)
	bytes := s.bytes
	there := func(id string) bool {
		_, stored := s.records[id]
		_, repeated := added[id]
		return stored || repeated
	}
	for i, record := range records {
		key := record.DedupKey
		if there(record.ID) || key != "" && (s.keys[key] != "" || keys[key] != "" || there(key) || s.kept[key].After(now)) {
			continue
		}
		if key != "" {
			keys[key] = record.ID
		}
		record = clone(record)
		record.DeliverAt = record.DeliverAt.Round(0)
		record.CreatedAt = now.Round(0)
		record.DueAt = now.Add(max(delay, 0)).Round(0)
		if record.State == outbox.Dead {
			record.LeaseToken = ""
		}
		added[record.ID], inserted[i] = &record, true
		bytes += record.Size()
	}
	if len(added) > 0 {
		held := bound.Load{Records: len(s.records), Bytes: s.bytes}
		if err := bound.Check(s.limit, held, bound.Load{Records: len(added), Bytes: bytes - s.bytes}); err != nil {
			return nil, err
		}
	}
	maps.Copy(s.records, added)
	maps.Copy(s.keys, keys)
	s.bytes = bytes
	return inserted, nil
}

// Claim leases due records, the longest due first, or topic by topic.
func (s *Store) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mutex.Unlock()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	now := time.Now()
	due := s.list(func(r *outbox.Record) bool {
		return r.State == outbox.Pending && !r.DueAt.After(now) &&
			(!options.SkipScheduled || !r.DeliverAt.After(now)) && !slices.Contains(options.SkipTopics, r.Topic)
	})
	slices.SortFunc(due, func(a, b *outbox.Record) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	if options.PerTopic > 0 {
		due = byTopic(due, options)
	}
	token := rand.Text()
	var claimed []outbox.Record
	var bytes int64
	for _, stored := range due {
		record := *stored
		bytes += record.Size()
		if len(claimed) == options.Limit ||
			options.MaxBytes > 0 && bytes > options.MaxBytes && len(claimed) > 0 {
			break
		}
		record.Attempts++
		record.DueAt = now.Add(options.Lease).Round(0)
		record.LeaseToken = token
		s.records[record.ID] = &record
		claimed = append(claimed, clone(record))
	}
	return claimed, nil
}

// byTopic orders records as a claim visits their topics, and drops those beyond the
// maximum of each topic.
func byTopic(records []*outbox.Record, options outbox.ClaimOptions) []*outbox.Record {
	taken := make(map[string]int)
	records = slices.DeleteFunc(records, func(r *outbox.Record) bool {
		taken[r.Topic]++
		return taken[r.Topic] > options.PerTopic
	})
	round := func(topic string) int {
		if topic > options.AfterTopic {
			return 1
		}
		return 2
	}
	slices.SortStableFunc(records, func(a, b *outbox.Record) int {
		return cmp.Or(cmp.Compare(round(a.Topic), round(b.Topic)), cmp.Compare(a.Topic, b.Topic))
	})
	return records
}

// Delete removes records, regardless of who holds them.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	return s.remove(ids), nil
}

// remove removes records and returns how many there were.
func (s *Store) remove(ids []string) int {
	before := len(s.records)
	for _, id := range ids {
		if record := s.records[id]; record != nil {
			s.bytes -= record.Size()
			delete(s.records, id)
			delete(s.keys, record.DedupKey)
		}
	}
	return before - len(s.records)
}

// Reschedule gives claimed records back or renews their leases. A negative wait
// counts as zero.
func (s *Store) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	now := time.Now()
	changed := 0
	for _, change := range changes {
		stored := s.records[change.ID]
		if stored == nil || stored.LeaseToken == "" || stored.LeaseToken != change.LeaseToken {
			continue
		}
		record := *stored
		if !change.Hold || change.Dead {
			record.LeaseToken = ""
		}
		record.DueAt = now.Add(max(change.After, 0)).Round(0)
		record.LastError = cmp.Or(change.LastError, record.LastError)
		if change.Dead {
			record.State = outbox.Dead
		}
		if change.Untried {
			record.Attempts = max(record.Attempts-1, 0)
		}
		s.records[record.ID] = &record
		changed++
	}
	return changed, nil
}

// Next returns how long it takes until the first pending record is due.
func (s *Store) Next(ctx context.Context) (time.Duration, bool, error) {
	if err := s.lock(ctx); err != nil {
		return 0, false, err
	}
	defer s.mutex.Unlock()
	now := time.Now()
	var wait time.Duration
	found := false
	for _, record := range s.records {
		if record.State != outbox.Pending {
			continue
		}
		until := max(record.DueAt.Sub(now), 0)
		if !found || until < wait {
			wait, found = until, true
		}
	}
	return wait, found, nil
}

// Stats counts the records.
func (s *Store) Stats(ctx context.Context) (outbox.Stats, error) {
	if err := s.lock(ctx); err != nil {
		return outbox.Stats{}, err
	}
	defer s.mutex.Unlock()
	now := time.Now()
	stats := outbox.Stats{Bytes: s.bytes}
	for _, record := range s.records {
		if record.State == outbox.Dead {
			stats.Dead++
			continue
		}
		stats.Pending++
		if record.LeaseToken != "" && record.DueAt.After(now) {
			stats.Held++
		}
		if stats.Oldest.IsZero() || record.CreatedAt.Before(stats.Oldest) {
			stats.Oldest, stats.Age = record.CreatedAt, now.Sub(record.CreatedAt)
		}
	}
	return stats, nil
}

// List returns records by ascending ID.
func (s *Store) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mutex.Unlock()
	if err := query.Validate(); err != nil {
		return nil, err
	}
	named := set(query.IDs)
	records := s.list(func(r *outbox.Record) bool {
		return (len(named) == 0 || named[r.ID]) && (query.DedupKey == "" || query.DedupKey == r.DedupKey || query.DedupKey == r.ID) &&
			r.ID > query.After && (query.Topic == "" || r.Topic == query.Topic) &&
			(query.State == nil || r.State == *query.State)
	})
	slices.SortFunc(records, func(a, b *outbox.Record) int { return cmp.Compare(a.ID, b.ID) })
	var entries []outbox.Entry
	for _, stored := range records[:min(len(records), query.Limit)] {
		record := *stored
		entry := outbox.Entry{PayloadSize: len(record.Payload), AttributesSize: len(record.Attributes)}
		record.Payload = cut(record.Payload, query.MaxPayload)
		record.Attributes = cut(record.Attributes, query.MaxPayload)
		entry.Record = clone(record)
		entries = append(entries, entry)
	}
	return entries, nil
}

// cut returns at most limit bytes of a text. Zero means all, a negative limit nil.
func cut(text json.RawMessage, limit int) json.RawMessage {
	switch {
	case limit < 0:
		return nil
	case limit == 0:
		return text
	default:
		return text[:min(len(text), limit)]
	}
}

// Count counts the selected records.
func (s *Store) Count(ctx context.Context, selection outbox.Selection) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	selected, err := s.selected(selection)
	return len(selected), err
}

// Retry makes the selected records pending and due now.
func (s *Store) Retry(ctx context.Context, selection outbox.Selection) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	selected, err := s.selected(selection)
	if err != nil {
		return 0, err
	}
	now := time.Now().Round(0)
	for _, stored := range selected {
		record := *stored
		record.State, record.DueAt, record.LeaseToken = outbox.Pending, now, ""
		s.records[record.ID] = &record
	}
	return len(selected), nil
}

// Discard deletes the selected records.
func (s *Store) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mutex.Unlock()
	selected, err := s.selected(selection)
	if err != nil {
		return 0, err
	}
	var ids []string
	for _, record := range selected {
		ids = append(ids, record.ID)
	}
	return s.remove(ids), nil
}

// selected returns the records that match a selection.
func (s *Store) selected(selection outbox.Selection) ([]*outbox.Record, error) {
	if err := selection.Validate(); err != nil {
		return nil, err
	}
	named := set(selection.IDs)
	return s.list(func(r *outbox.Record) bool {
		selected := selection.All || selection.Topic != "" && r.Topic == selection.Topic || named[r.ID]
		return selected && (selection.State == nil || r.State == *selection.State)
	}), nil
}

// set returns the texts as a set.
func set(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, text := range texts {
		set[text] = true
	}
	return set
}

// list returns the records that match, unordered. They must not be modified.
func (s *Store) list(match func(*outbox.Record) bool) []*outbox.Record {
	var records []*outbox.Record
	for _, record := range s.records {
		if match(record) {
			records = append(records, record)
		}
	}
	return records
}

// clone returns a deep copy of a record.
func clone(record outbox.Record) outbox.Record {
	record.Payload = slices.Clone(record.Payload)
	record.Attributes = slices.Clone(record.Attributes)
	return record
}
