package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Retry makes the selected records pending and due now, in steps of 1000. If a step
// fails, or the context ends between steps, it returns the error and how many
// records it has changed.
func (s *Store) Retry(ctx context.Context, selection outbox.Selection) (int, error) {
	return s.selectEach(ctx, "retry", selection, func(ids []string, filter func(*values) string) (int, error) {
		return change(ctx, s.db, s.retryText(ids, filter))
	})
}

// retryText returns the statement that retries the rows that match a filter.
func (s *Store) retryText(ids []string, filter func(*values) string) string {
	v := s.dialect.literals()
	from, where := s.table.SQL(), "id"+v.among(ids)
	if s.dialect == MySQL {
		from, where = s.among(ids), "1 = 1"
	}
	return fmt.Sprintf("UPDATE %s SET state = 0, due_at = %s, token = '' WHERE %s%s", from, s.dialect.now(), where, filter(v))
}

// Discard deletes the selected records, in steps of 1000. If a step fails, or the
// context ends between steps, it returns the error and how many records it has
// deleted.
func (s *Store) Discard(ctx context.Context, selection outbox.Selection) (int, error) {
	return s.selectEach(ctx, "discard", selection, func(ids []string, filter func(*values) string) (int, error) {
		return s.remove(ctx, ids, filter)
	})
}

// selectEach calls apply with IDs and a filter for the selected records, and returns
// how many it changed.
func (s *Store) selectEach(ctx context.Context, what string, selection outbox.Selection, apply func(ids []string, filter func(*values) string) (int, error)) (int, error) {
	if err := selection.Validate(); err != nil {
		return 0, err
	}
	err := s.do(ctx, what, func() error { return nil })
	if err != nil || !knownState(selection.State) {
		return 0, err
	}
	total := 0
	step := func(ids []string, filter func(*values) string) error {
		return inParts(ctx, s, s.write, what, ids, listed, weightID, func(part []string) error {
			n, err := apply(part, filter)
			total += n
			return err
		})
	}
	filter := func(v *values) string { return s.filter(v, selection.Topic, selection.State) }
	if !selection.All && selection.Topic == "" {
		err := step(sorted(selection.IDs), filter)
		return total, err
	}

	// Records inserted from now on are not included.
	var last string
	var found bool
	err = s.do(ctx, what, func() error {
		v := s.dialect.querying()
		query := "SELECT id FROM " + s.table.SQL() + " WHERE id > ''" + v.planned() + " ORDER BY id DESC LIMIT 1"
		found, err = first(ctx, s.db, query, v.args, &last)
		return err
	})
	if err != nil || !found {
		return total, err
	}
	query := outbox.Query{Topic: selection.Topic, State: selection.State, Limit: listed}
	for {
		var ids []string
		err := s.do(ctx, what, func() error {
			ids = nil
			v := s.dialect.querying()
			text := s.pageText(v, "id", query)
			return each(ctx, s.db, text, v.args, func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
		})
		if err != nil {
			return total, err
		}
		full := len(ids) == listed
		ids = slices.DeleteFunc(ids, func(id string) bool { return id > last })
		if len(ids) == 0 {
			return total, nil
		}
		if err := step(ids, filter); err != nil {
			return total, err
		}
		if !full || len(ids) < listed {
			return total, nil
		}
		query.After = ids[listed-1]
	}
}
