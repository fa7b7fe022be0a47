package sqlstore

import (
	"context"
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Count counts the selected records by an index. For dead records of a topic it
// reads the rows on databases with a separate index of dead rows.
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
		v := s.dialect.querying()
		_, err := first(ctx, s.db, query(v), v.args, &n)
		total += n
		return err
	}
	if selection.All || selection.Topic != "" {
		err = s.do(ctx, "count", func() error {
			return add(func(v *values) string { return s.countManyText(v, selection.Topic, selection.State) })
		})
	} else {
		err = inParts(ctx, s, s.do, "count", sorted(selection.IDs), listed, weightID, func(ids []string) error {
			return add(func(v *values) string { return s.countIDsText(v, ids, selection.State) })
		})
	}
	if err != nil {
		return 0, err
	}
	return total, nil
}

// countIDsText returns the query that counts rows by IDs and state; a nil state
// means any.
func (s *Store) countIDsText(v *values, ids []string, state *outbox.State) string {
	from := s.table.SQL()
	if s.dialect == MySQL {
		from += " FORCE INDEX (PRIMARY)"
	}
	return "SELECT count(*) FROM " + from + " WHERE id" + v.among(ids) + s.filter(v, "", state) + v.planned()
}

// countManyText returns the query that counts all rows of a topic and a state. An
// empty topic and a nil state mean any.
func (s *Store) countManyText(v *values, topic string, state *outbox.State) string {
	count := func(from, where string) string {
		if topic != "" {
			where += " AND topic = " + v.text(topic)
		}
		return fmt.Sprintf("SELECT count(*) FROM %s WHERE %s%s", from, where, v.planned())
	}
	pending := func() string {
		if topic == "" {
			return count(s.table.using(s.table.due()), fmt.Sprintf("%s AND due_at < %d", s.dialect.pending(), trialDue))
		}
		return count(s.table.using(s.table.topic()), s.dialect.pending())
	}
	dead := func() string {
		switch {
		case s.dialect != MySQL:
			return count(s.table.using(s.table.dead()), "state = 1")
		case topic == "":
			return count(s.table.using(s.table.due()), "state = 1")
		default:
			return count(s.table.using(s.table.topic()), "state = 1")
		}
	}
	switch {
	case state != nil && *state == outbox.Dead:
		return dead()
	case state != nil:
		return pending()
	default:
		return "SELECT (" + pending() + ") + (" + dead() + ")"
	}
}
