package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Delete removes records, regardless of who holds them, 1000 in a statement. If one
// of several statements fails, it returns the error and how many records the others
// deleted.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	deleted := 0
	err := s.do(ctx, "delete", func() error { return nil })
	if err != nil {
		return 0, err
	}
	err = inParts(ctx, s, s.write, "delete", sorted(ids), listed, weightID, func(part []string) error {
		n, err := s.remove(ctx, part, func(*values) string { return "" })
		deleted += n
		return err
	})
	return deleted, err
}

// sorted returns the IDs in order, each once. Statements that lock rows in the same
// order do not deadlock.
func sorted(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// among returns the rows with the IDs as a joined table for MySQL, under the name
// outbox. The join finds each row by the primary key. With the IDs in a condition,
// the planner scans a small table and waits for every row that another transaction
// has locked.
func (s *Store) among(ids []string) string {
	var list strings.Builder
	for i, id := range ids {
		if i == 0 {
			list.WriteString("SELECT " + s.dialect.text(id) + " AS id")
			continue
		}
		list.WriteString(" UNION ALL SELECT " + s.dialect.text(id))
	}
	return "(" + list.String() + ") AS named STRAIGHT_JOIN " + s.table.SQL() +
		" AS outbox FORCE INDEX (PRIMARY) ON outbox.id = named.id"
}

// remove deletes the rows with the IDs that match a filter.
func (s *Store) remove(ctx context.Context, ids []string, filter func(*values) string) (int, error) {
	return s.removeBy(ctx, ids, filter, s.deleteText(ids, filter))
}

// removeBy removes the rows with the IDs that match a filter, by a given statement.
func (s *Store) removeBy(ctx context.Context, ids []string, filter func(*values) string, statement string) (int, error) {
	if s.capacity == nil {
		return change(ctx, s.db, statement)
	}
	var records int
	var bytes int64
	if s.capacity.limit.Bytes > 0 {
		v := s.dialect.querying()
		query := s.countText(s.table.SQL()) + " AND id" + v.among(ids) + filter(v) + v.planned()
		if _, err := first(ctx, s.db, query, v.args, &records, &bytes); err != nil {
			return 0, err
		}
	}
	n, err := change(ctx, s.db, statement)
	s.capacity.removed(n, records, bytes, err)
	return n, err
}

// deleteText returns the statement that deletes the rows with the IDs that match a
// filter.
func (s *Store) deleteText(ids []string, filter func(*values) string) string {
	v := s.dialect.literals()
	if s.dialect == MySQL {
		return "DELETE outbox FROM " + s.among(ids) + " WHERE 1 = 1" + filter(v)
	}
	return "DELETE FROM " + s.table.SQL() + " WHERE id" + v.among(ids) + filter(v)
}

// Reschedule gives claimed records back or renews their leases, with as many changes
// in a statement as fit. A negative wait counts as zero. If one of several
// statements fails, it returns the error and how many records the others changed.
// Parts of a LastError that the database cannot store are replaced: invalid UTF-8 by
// U+FFFD, and characters that are not in its character set by escapes such as
// \u00e9.
func (s *Store) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	changed := 0
	err := s.do(ctx, "reschedule", func() error { return nil })
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(changes, func(c outbox.Change) bool { return !ascii(c.LastError) }) {
		s.learnEncoding(ctx)
	}
	err = inParts(ctx, s, s.write, "reschedule", effective(changes), rescheduled, weightChange, func(part []outbox.Change) error {
		return s.storable(func() error {
			n, err := change(ctx, s.db, s.rescheduleText(part))
			changed += n
			return err
		})
	})
	return changed, err
}

// rescheduled is the maximum number of changes in a statement. LastErrors can be
// long.
const rescheduled = 100

// effective returns the changes that can take effect, sorted by ID: those with a
// token, and the first one of each claim.
func effective(changes []outbox.Change) []outbox.Change {
	type claim struct{ id, token string }
	seen := make(map[claim]bool, len(changes))
	var list []outbox.Change
	for _, c := range changes {
		if name := (claim{c.ID, c.LeaseToken}); c.LeaseToken != "" && !seen[name] {
			seen[name] = true
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b outbox.Change) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// rescheduleText returns the statement that applies the changes.
func (s *Store) rescheduleText(changes []outbox.Change) string {
	var values strings.Builder
	for i, c := range changes {
		dead, untried, kept := 0, 0, 0
		if c.Dead {
			dead = 1
		}
		if c.Untried {
			untried = 1
		}
		if c.Hold && !c.Dead {
			kept = 1
		}
		id, token, lastError := s.dialect.text(c.ID), s.dialect.text(c.LeaseToken), s.dialect.words(s.words(c.LastError))
		switch {
		case s.dialect != MySQL:
			fmt.Fprintf(&values, ", (%s, %s, %d, %d, %d, %d, %s)", id, token, micros(c.After), untried, dead, kept, lastError)
		case i == 0:
			fmt.Fprintf(&values, "SELECT %s AS id, %s AS token, %d AS wait, %d AS untried, %d AS dead, %d AS kept, %s AS said",
				id, token, micros(c.After), untried, dead, kept, lastError)
		default:
			fmt.Fprintf(&values, " UNION ALL SELECT %s, %s, %d, %d, %d, %d, %s", id, token, micros(c.After), untried, dead, kept, lastError)
		}
	}
	holds := "outbox.id = made.id AND outbox.token = made.token AND outbox.token <> '' AND " + s.dialect.filter("outbox.state = 0")
	text := `WITH made (id, token, wait, untried, dead, kept, said) AS (VALUES CHANGES)
UPDATE TABLE AS outbox SET token = CASE WHEN made.kept = 1 THEN outbox.token ELSE '' END,
	due_at = CASE WHEN made.dead = 0 THEN NOW + made.wait ELSE 0 END,
	attempts = CASE WHEN outbox.attempts > made.untried THEN outbox.attempts - made.untried ELSE 0 END, state = made.dead,
	last_error = CASE WHEN made.said = '' THEN outbox.last_error ELSE made.said END
FROM made WHERE ` + holds
	if s.dialect == MySQL {
		// The changes come first in the join, and each finds its row by the primary
		// key.
		text = `UPDATE (CHANGES) AS made STRAIGHT_JOIN TABLE AS outbox FORCE INDEX (PRIMARY) ON ` + holds + `
SET outbox.token = CASE WHEN made.kept = 1 THEN outbox.token ELSE '' END,
	outbox.due_at = CASE WHEN made.dead = 0 THEN NOW + made.wait ELSE 0 END,
	outbox.attempts = GREATEST(outbox.attempts - made.untried, 0), outbox.state = made.dead,
	outbox.last_error = CASE WHEN made.said = '' THEN outbox.last_error ELSE made.said END`
	}
	return strings.NewReplacer("CHANGES", strings.TrimPrefix(values.String(), ", "), "TABLE", s.table.SQL(), "NOW", s.dialect.now()).Replace(text)
}
