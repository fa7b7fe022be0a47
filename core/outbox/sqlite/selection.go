package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// batch is how many records Retry and Discard change in a transaction, so that other
// calls need not wait for all of them.
const batch = 1000

// filtered returns the end of a statement that visits the records of a topic and
// state by ascending ID, and its first arguments. An empty topic and a nil state
// mean any.
func filtered(topic string, state *outbox.State, after string) (string, []any) {
	index, conditions, args := "outbox_id", []string{"id > ?"}, []any{max(after, firstID)}
	if topic != "" {
		index, conditions, args = "outbox_topic", append(conditions, "topic = ?"), append(args, topic)
	}
	if state != nil {
		// A literal lets SQLite use the partial index.
		conditions = append(conditions, fmt.Sprintf("state = %d", int(*state)))
		if *state == outbox.Dead && topic == "" {
			index = "outbox_dead"
		}
	}
	return " FROM outbox INDEXED BY " + index + " WHERE " + strings.Join(conditions, " AND "), args
}

// knownState reports whether a filter's state is one that records can have.
// Otherwise no statement is needed.
func knownState(state *outbox.State) bool {
	return state == nil || *state == outbox.Pending || *state == outbox.Dead
}

// listColumns returns the columns of an entry, with at most limit bytes of payload
// and attributes, and their full lengths.
func listColumns(limit int) (string, []any) {
	switch {
	case limit < 0:
		return plainColumns + ", NULL, NULL" + lengths, nil
	case limit == 0:
		return columns + lengths, nil
	default:
		return plainColumns + ", substr(attributes, 1, ?), substr(payload, 1, ?)" + lengths, []any{limit, limit}
	}
}

// List returns records by ascending ID, compared by bytes. Payloads that are left
// out cost nothing; truncated ones are read completely, one at a time.
func (s *Store) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	if err := query.Validate(); err != nil {
		return nil, err
	}
	if query.DedupKey != "" {
		if err := s.nameHolder(ctx, &query); err != nil || len(query.IDs) == 0 {
			return nil, err
		}
	}
	if len(query.IDs) > 0 {
		return s.listIDs(ctx, query)
	}
	var entries []outbox.Entry
	err := s.read(ctx, func(w *writer) error {
		if !knownState(query.State) {
			return nil
		}
		names, args := listColumns(query.MaxPayload)
		from, conditions := filtered(query.Topic, query.State, query.After)
		return w.list("SELECT "+names+from+" ORDER BY id LIMIT ?", slices.Concat(args, conditions, []any{query.Limit}), &entries)
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// nameHolder restricts the IDs of a query to the holders of its key.
func (s *Store) nameHolder(ctx context.Context, query *outbox.Query) error {
	var holders []string
	err := s.read(ctx, func(w *writer) error {
		return w.rows(selectHolder, []any{query.DedupKey}, func(scan func(...any) error) (bool, error) {
			var id string
			err := scan(&id)
			if len(query.IDs) == 0 || slices.Contains(query.IDs, id) {
				holders = append(holders, id)
			}
			return true, err
		})
	})
	query.IDs = holders
	return err
}

// listIDs lists records by IDs.
func (s *Store) listIDs(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	names, args := listColumns(query.MaxPayload)
	from, conditions := filtered(query.Topic, query.State, "")
	text := "SELECT " + names + from + " AND id = ?"
	args = append(args, conditions...)
	ids := slices.Clone(query.IDs)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var entries []outbox.Entry
	for group := range slices.Chunk(ids, batch) {
		err := s.read(ctx, func(w *writer) error {
			if !knownState(query.State) {
				return nil
			}
			for _, id := range group {
				if id <= query.After {
					continue
				}
				if err := w.list(text, append(args[:len(args):len(args)], id), &entries); err != nil {
					return err
				}
				if len(entries) == query.Limit {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(entries) == query.Limit {
			break
		}
	}
	return entries, nil
}

// list runs a query for listColumns.
func (w *writer) list(query string, args []any, entries *[]outbox.Entry) error {
	return w.rows(query, args, func(scan func(...any) error) (bool, error) {
		var entry outbox.Entry
		var err error
		_, entry.Record, err = scanRecord(scan, &entry.AttributesSize, &entry.PayloadSize)
		*entries = append(*entries, entry)
		return true, err
	})
}

// countStep is how many records Count visits at a time, so that other calls need not
// wait for the whole count.
const countStep = 10_000

// Count counts the selected records. Counting all records, or all of a state, costs
// nothing; the records of a topic are counted in an index without payloads.
func (s *Store) Count(ctx context.Context, selection outbox.Selection) (int, error) {
	if err := selection.Validate(); err != nil {
		return 0, err
	}
	if selection.All {
		total := 0
		err := s.read(ctx, func(w *writer) error {
			switch {
			case selection.State == nil:
				total = w.counts.records()
			case *selection.State == outbox.Pending:
				total = w.counts.pending
			case *selection.State == outbox.Dead:
				total = w.counts.dead
			}
			return nil
		})
		return total, err
	}
	if selection.Topic == "" || !knownState(selection.State) {
		return s.selectIDs(ctx, s.read, selection, func(*writer, selected) error { return nil })
	}
	total, state := 0, -1
	if selection.State != nil {
		state = int(*selection.State)
	}
	for after, passed := "", countStep; passed == countStep; {
		err := s.read(ctx, func(w *writer) error {
			var found int
			_, err := w.row(countTopic, []any{state, selection.Topic, after, countStep}, &passed, &after, &found)
			total += found
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// Retry makes the selected records pending and due now, in steps. If a step fails,
// or the context ends between steps, it returns the error and how many records it
// has changed.
func (s *Store) Retry(ctx context.Context, selection outbox.Selection) (int, error) {
	return s.selectEach(ctx, selection, func(w *writer, r selected) error {
		if err := w.exec(retryRecord, w.store.clock.now().UnixMicro(), r.seq); err != nil {
			return err
		}
		w.counts.add(r.state, -1, -r.size)
		w.counts.add(outbox.Pending, 1, r.size)
		return nil
	})
}

// Discard deletes the selected records, in steps. If a step fails, or the context
// ends between steps, it returns the error and how many records it has deleted.
func (s *Store) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	return s.selectEach(ctx, selection, func(w *writer, r selected) error {
		if err := w.exec(discardRecord, r.seq); err != nil {
			return err
		}
		w.counts.add(r.state, -1, -r.size)
		return nil
	})
}

// selected are the fields of a record that Retry and Discard need.
type selected struct {
	seq   int64
	id    string
	state outbox.State
	size  int64
}

// fields returns the destinations of the columns seq, id, state and size.
func (r *selected) fields() []any {
	return []any{&r.seq, &r.id, (*int)(&r.state), &r.size}
}

// selectEach calls change for each selected record and returns how many there were.
func (s *Store) selectEach(ctx context.Context, selection outbox.Selection, change func(*writer, selected) error) (int, error) {
	if err := selection.Validate(); err != nil {
		return 0, err
	}
	if !selection.All && selection.Topic == "" || !knownState(selection.State) {
		return s.selectIDs(ctx, s.write, selection, change)
	}
	// Records inserted from now on are not included.
	total, after, last := 0, "", int64(0)
	for {
		var records []selected
		err := s.write(ctx, func(w *writer) error {
			records = nil
			if last == 0 {
				if _, err := w.row(selectLast, nil, &last); err != nil {
					return err
				}
			}
			from, args := filtered(selection.Topic, selection.State, after)
			err := w.rows("SELECT seq, id, state, size"+from+" AND seq <= ? ORDER BY id LIMIT ?", append(args, last, batch),
				func(scan func(...any) error) (bool, error) {
					var r selected
					err := scan(r.fields()...)
					records = append(records, r)
					return true, err
				})
			if err != nil {
				return err
			}
			for _, r := range records {
				if err := change(w, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += len(records)
		if len(records) < batch {
			return total, nil
		}
		after = records[len(records)-1].id
	}
}

// selectIDs calls change for each record that is selected by ID, and returns how
// many there were. by is read or write.
func (s *Store) selectIDs(ctx context.Context, by func(context.Context, func(*writer) error) error, selection outbox.Selection, change func(*writer, selected) error) (int, error) {
	count := 0
	err := by(ctx, func(w *writer) error {
		count = 0
		seen := make(map[string]bool, len(selection.IDs))
		for _, id := range selection.IDs {
			if seen[id] {
				continue
			}
			seen[id] = true
			var r selected
			ok, err := w.row(selectByID, []any{id}, r.fields()...)
			if err != nil {
				return err
			}
			if !ok || selection.State != nil && r.state != *selection.State {
				continue
			}
			if err := change(w, r); err != nil {
				return err
			}
			count++
		}
		return nil
	})
	return count, err
}
