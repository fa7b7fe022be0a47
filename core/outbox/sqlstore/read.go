package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Next returns how long it takes until the first pending record is due.
func (s *Store) Next(ctx context.Context) (time.Duration, bool, error) {
	var wait int64
	var pending bool
	err := s.do(ctx, "next", func() error {
		query, args := s.nextQuery()
		var err error
		pending, err = first(ctx, s.db, query, args, &wait)
		return err
	})
	if err != nil || !pending {
		return 0, false, err
	}
	return time.Duration(max(wait, 0)) * time.Microsecond, true, nil
}

func (s *Store) nextQuery() (string, []any) {
	v := s.dialect.querying()
	return fmt.Sprintf("SELECT due_at - %s FROM %s WHERE %s AND due_at < %d%s ORDER BY due_at, id LIMIT 1",
		s.dialect.now(), s.table.using(s.table.due()), s.dialect.pending(), trialDue, v.planned()), v.args
}

// Stats counts the records. It reads pending records from an index, in time
// proportional to their number; PostgreSQL and SQLite read the rows of dead ones.
// Call it for display and occasional measurements.
func (s *Store) Stats(ctx context.Context) (outbox.Stats, error) {
	var stats outbox.Stats
	err := s.do(ctx, "stats", func() error {
		var oldest sql.NullInt64
		var now int64
		stats = outbox.Stats{}
		query, args := s.statsQuery()
		_, err := first(ctx, s.db, query, args, &stats.Pending, &stats.Dead, &stats.Held, &stats.Bytes, &oldest, &now)
		if oldest.Valid {
			stats.Oldest = time.UnixMicro(oldest.Int64).UTC()
			stats.Age = time.Duration(max(now-oldest.Int64, 0)) * time.Microsecond
		}
		return err
	})
	if err != nil {
		return outbox.Stats{}, err
	}
	return stats, nil
}

// statsQuery returns the query for Stats. Each state is counted by its own index,
// except on MySQL, where one index has both.
func (s *Store) statsQuery() (string, []any) {
	if s.dialect == MySQL {
		return fmt.Sprintf(`SELECT count(CASE WHEN state = 0 THEN 1 END), count(CASE WHEN state = 1 THEN 1 END),
	count(CASE WHEN state = 0 AND token <> '' AND due_at > %s THEN 1 END), CAST(coalesce(sum(size), 0) AS SIGNED),
	min(CASE WHEN state = 0 THEN created_at END), %s FROM %s WHERE %s AND %s`,
			s.dialect.now(), s.dialect.now(), s.table.using(s.table.topic()), s.dialect.notTrial(), ofRecords), nil
	}
	return s.bothStates("p.n, d.n, p.held, CAST(p.bytes + d.bytes AS bigint), p.oldest, " + s.dialect.now())
}

// ofRecords is a condition that lets MySQL skip remembered keys in the index by
// topic.
const ofRecords = "state IN (0, 1) AND topic > ''"

// totalQuery returns the query for the number and bytes of all records.
func (s *Store) totalQuery() (string, []any) {
	if s.dialect == MySQL {
		return s.countText(s.table.using(s.table.topic())) + " AND " + ofRecords, nil
	}
	return s.bothStates("p.n + d.n, CAST(p.bytes + d.bytes AS bigint)")
}

// bothStates returns a query over the counts of pending rows, p, and dead rows, d.
func (s *Store) bothStates(what string) (string, []any) {
	v := s.dialect.querying()
	return fmt.Sprintf(`SELECT %s FROM
	(SELECT count(*) AS n, coalesce(sum(size), 0) AS bytes, min(created_at) AS oldest,
		count(CASE WHEN token <> '' AND due_at > %s THEN 1 END) AS held FROM %s WHERE %s AND topic > '' AND %s%s) AS p,
	(SELECT count(*) AS n, coalesce(sum(size), 0) AS bytes FROM %s WHERE state = 1) AS d`,
		what, s.dialect.now(), s.table.using(s.table.topic()), s.dialect.pending(), s.dialect.notTrial(), v.planned(), s.table.using(s.table.dead())), v.args
}

// countText returns a query that counts records and bytes. The caller can append AND
// and a condition.
func (s *Store) countText(from string) string {
	return fmt.Sprintf("SELECT count(*), CAST(coalesce(sum(size), 0) AS %s) FROM %s WHERE %s", s.dialect.integer(), from, s.dialect.notTrial())
}

// List returns records by ascending ID, compared by bytes. The cost of a page is the
// number of records that it visits: dead records of all topics have an index, and
// other records that do not match are skipped one by one. Payloads that are left out
// cost nothing. Truncated payloads transfer MaxPayload bytes, although MySQL and
// SQLite read each of them completely.
func (s *Store) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	if err := query.Validate(); err != nil {
		return nil, err
	}
	if query.DedupKey != "" {
		if err := s.nameHolders(ctx, &query); err != nil || len(query.IDs) == 0 {
			return nil, err
		}
	}
	if len(query.IDs) > 0 {
		return s.listIDs(ctx, query)
	}
	var entries []outbox.Entry
	err := s.do(ctx, "list", func() error {
		entries = nil
		if !knownState(query.State) {
			return nil
		}
		text, args := s.listQuery(query)
		return each(ctx, s.db, text, args, scanListed(&entries))
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// listIDs lists records by IDs, 1000 in a statement.
func (s *Store) listIDs(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	ids := slices.DeleteFunc(sorted(query.IDs), func(id string) bool { return id <= query.After })
	var entries []outbox.Entry
	err := s.do(ctx, "list", func() error { return nil })
	if err != nil || !knownState(query.State) {
		return nil, err
	}
	err = inParts(ctx, s, s.do, "list", ids, listed, weightID, func(part []string) error {
		rest := query
		rest.IDs, rest.Limit = part, query.Limit-len(entries)
		if rest.Limit == 0 {
			return nil
		}
		var some []outbox.Entry
		text, args := s.listIDsQuery(rest)
		if err := each(ctx, s.db, text, args, scanListed(&some)); err != nil {
			return err
		}
		entries = append(entries, some...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// listIDsQuery returns the query that lists rows by IDs.
func (s *Store) listIDsQuery(query outbox.Query) (string, []any) {
	from := s.table.SQL()
	if s.dialect == MySQL {
		from += " FORCE INDEX (PRIMARY)"
	}
	v := s.dialect.querying()
	return fmt.Sprintf("SELECT %s FROM %s WHERE id%s%s%s ORDER BY id LIMIT %s", v.listColumns(query.MaxPayload), from,
		v.among(query.IDs), s.filter(v, query.Topic, query.State), v.planned(), v.number(int64(query.Limit))), v.args
}

// listQuery returns the query that lists rows by ascending ID.
func (s *Store) listQuery(query outbox.Query) (string, []any) {
	v := s.dialect.querying()
	text := s.pageText(v, v.listColumns(query.MaxPayload), query)
	return text, v.args
}

// pageText returns a query for rows by ascending ID.
func (s *Store) pageText(v *values, what string, query outbox.Query) string {
	from := s.table.SQL()
	dead := query.State != nil && *query.State == outbox.Dead
	switch {
	case dead && s.dialect == MySQL:
		from = s.table.using(s.table.due())
	case dead && s.dialect == SQLite:
		from = s.table.using(s.table.dead())
	case query.Topic == "" && s.dialect == MySQL:
		from += " FORCE INDEX (PRIMARY)"
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE id > %s%s%s ORDER BY id LIMIT %s",
		what, from, v.text(max(query.After, firstID)), s.filter(v, query.Topic, query.State), v.planned(), v.number(int64(query.Limit)))
}

// filter returns conditions for rows of a topic and state, without trials. An empty
// topic and a nil state mean any.
func (s *Store) filter(v *values, topic string, state *outbox.State) string {
	text := ""
	if topic != "" {
		text += " AND topic = " + v.text(topic)
	}
	switch {
	case state == nil && topic != "" && s.dialect == MySQL:
		text += " AND state IN (0, 1) AND " + s.dialect.notTrial() // so that the index by topic is used
	case state == nil:
		text += " AND " + s.dialect.notTrial()
	case *state == outbox.Pending:
		text += " AND " + s.dialect.filter(s.dialect.pending()) + " AND " + s.dialect.notTrial()
	case s.dialect == MySQL:
		// All dead rows are due at 0, so the index for claims has them in ID order.
		text += " AND state = 1 AND due_at = 0"
	default:
		text += " AND state = 1"
	}
	return text
}

// knownState reports whether a filter's state is one that records can have.
// Otherwise no statement is needed.
func knownState(state *outbox.State) bool {
	return state == nil || *state == outbox.Pending || *state == outbox.Dead
}
