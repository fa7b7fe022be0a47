package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// batch is how many records Retry and Discard change in a transaction, so
// that others need not wait for all of them.
const batch = 1000

// filtered returns the end of a statement that goes through the records of a
// topic and state by ascending ID, and its first arguments. An empty topic
// and a nil state mean any.
func filtered(topic string, state *outbox.State, after string) (string, []any) {
	index, conditions, args := "outbox_id", []string{"id > ?"}, []any{after}
	if topic != "" {
		index, conditions, args = "outbox_topic", append(conditions, "topic = ?"), append(args, topic)
	}
	if state != nil {
		// A literal, by which SQLite sees that the partial index fits.
		conditions = append(conditions, fmt.Sprintf("state = %d", int(*state)))
		if *state == outbox.Dead && topic == "" {
			index = "outbox_dead"
		}
	}
	return " FROM outbox INDEXED BY " + index + " WHERE " + strings.Join(conditions, " AND "), args
}

// knownState reports whether a filter's state is one that records can have;
// another is not worth a statement.
func knownState(state *outbox.State) bool {
	return state == nil || *state == outbox.Pending || *state == outbox.Dead
}

// List returns records by ascending ID, that is by its bytes.
func (s *Store) List(ctx context.Context, query outbox.Query) ([]outbox.Record, error) {
	if err := query.Validate(); err != nil {
		return nil, err
	}
	var records []outbox.Record
	err := s.read(ctx, func(w *writer) error {
		if !knownState(query.State) {
			return nil
		}
		from, args := filtered(query.Topic, query.State, query.After)
		return w.rows("SELECT "+columns+from+" ORDER BY id LIMIT ?", append(args, query.Limit),
			func(scan func(...any) error) (bool, error) {
				_, record, err := scanRecord(scan)
				records = append(records, record)
				return true, err
			})
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// Retry makes the selected records pending and due now. It goes through many
// records in steps; if one fails, or the context ends between them, it
// returns how many it changed beside the error.
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

// Discard deletes the selected records. It goes through many records in
// steps; if one fails, or the context ends between them, it returns how many
// it deleted beside the error.
func (s *Store) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	return s.selectEach(ctx, selection, func(w *writer, r selected) error {
		if err := w.exec(discardRecord, r.seq); err != nil {
			return err
		}
		w.counts.add(r.state, -1, -r.size)
		return nil
	})
}

// selected is what must be known of a record to retry or discard it.
type selected struct {
	seq   int64
	id    string
	state outbox.State
	size  int64
	topic string
}

// fields returns where to scan the columns seq, id, state, size and topic.
func (r *selected) fields() []any {
	return []any{&r.seq, &r.id, (*int)(&r.state), &r.size, &r.topic}
}

// selectEach calls a function for each record that any part of the selection
// names, and returns how many there were.
func (s *Store) selectEach(ctx context.Context, selection outbox.Selection, change func(*writer, selected) error) (int, error) {
	total := 0
	if !selection.All {
		n, err := s.selectIDs(ctx, selection, change)
		if err != nil {
			return 0, err
		}
		total = n
	}
	if !selection.All && selection.Topic == "" || !knownState(selection.State) {
		return total, nil
	}
	topic := selection.Topic
	if selection.All {
		topic = ""
	}
	// Records that come while this goes on are not waited for.
	after, last := "", int64(0)
	for {
		var records []selected
		err := s.write(ctx, func(w *writer) error {
			records = nil
			if last == 0 {
				if _, err := w.row(selectLast, nil, &last); err != nil {
					return err
				}
			}
			from, args := filtered(topic, selection.State, after)
			err := w.rows("SELECT seq, id, state, size, topic"+from+" AND seq <= ? ORDER BY id LIMIT ?", append(args, last, batch),
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

// selectIDs calls a function for each record that a selection names by ID,
// but not by topic as well, and returns how many there were.
func (s *Store) selectIDs(ctx context.Context, selection outbox.Selection, change func(*writer, selected) error) (int, error) {
	count := 0
	err := s.write(ctx, func(w *writer) error {
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
			if !ok || selection.Topic != "" && r.topic == selection.Topic ||
				selection.State != nil && r.state != *selection.State {
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
