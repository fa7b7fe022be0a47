package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Count counts the selected records. All of them, and all of a state, are
// counted in an index where the database can; for those of a topic, which has
// none, the table is read, though no payload of more than some kilobytes.
func (s *Store) Count(ctx context.Context, selection outbox.Selection) (int, error) {
	if err := selection.Validate(); err != nil {
		return 0, err
	}
	err := s.do(ctx, "count", func() error { return nil })
	if err != nil || !knownState(selection.State) {
		return 0, err
	}
	total := 0
	add := func(query func(v *values) string) error {
		var n int
		err := s.do(ctx, "count", func() error {
			v := s.dialect.querying()
			_, err := first(ctx, s.db, query(v), v.args, &n)
			return err
		})
		total += n
		return err
	}
	if !selection.All {
		for ids := range slices.Chunk(sorted(selection.IDs), listed) {
			if err := add(func(v *values) string { return s.countIDsText(v, ids, selection) }); err != nil {
				return 0, err
			}
		}
		if selection.Topic == "" {
			return total, nil
		}
	}
	if err := add(func(v *values) string { return s.countManyText(v, selection) }); err != nil {
		return 0, err
	}
	return total, nil
}

// countIDsText returns the query that counts rows of some IDs, but not those
// that the selection's topic names as well.
func (s *Store) countIDsText(v *values, ids []string, selection outbox.Selection) string {
	from := s.table.SQL()
	if s.dialect == MySQL {
		from += " FORCE INDEX (PRIMARY)"
	}
	return "SELECT count(*) FROM " + from + " WHERE id" + v.among(ids) + s.named(selection)(v) + v.planned()
}

// countManyText returns the query that counts all rows of a selection's topic
// or, with All, all rows; in each case of its state.
func (s *Store) countManyText(v *values, selection outbox.Selection) string {
	topic := selection.Topic
	if selection.All {
		topic = ""
	}
	from, where := s.table.SQL(), "1 = 1"
	switch {
	case selection.State == nil:
	case *selection.State == outbox.Dead:
		from, where = s.table.using(s.table.due()), "state = 1"
		if s.dialect == SQLite {
			from = s.table.using(s.table.dead())
		}
	case topic == "":
		from, where = s.table.using(s.table.due()), s.dialect.pending()
	default:
		// Most rows are pending, and to find each by the index would take
		// longer than to read all.
		where = s.dialect.filter(s.dialect.pending())
	}
	if topic != "" {
		where += " AND topic = " + v.text(topic)
	}
	return fmt.Sprintf("SELECT count(*) FROM %s WHERE %s%s", from, where, v.planned())
}
