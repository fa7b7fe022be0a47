package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Claim leases due records, the longest due first and then by ID, or topic by topic.
// Its cost depends on the number of records that it returns, not on the number that
// wait; with SkipScheduled, also on the due records that it skips, and with PerTopic
// on the topics without due records that it passes.
//
// Claim skips records that another claim or statement is changing at the same time.
// After a conflict on MySQL, for example with a claim on another node of a Galera
// cluster, it also skips some of the first records.
func (s *Store) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.PerTopic > 0 {
		return s.claimByTopic(ctx, options)
	}
	var claimed []outbox.Record
	attempts := 0
	err := s.write(ctx, "claim", func() error {
		claimed = nil
		attempts++
		var err error
		switch s.dialect {
		case Postgres:
			query, args := s.claimQuery(options, rand.Text())
			err = each(ctx, s.db, query, args, scanRecords(&claimed))
		case MySQL:
			err = s.transact(ctx, func(tx *sql.Conn) error {
				claimed, err = s.claimLocked(ctx, tx, options, passed(attempts, options.Limit))
				return err
			})
		default:
			claimed, err = s.leaseOptimistic(ctx, options, func() ([]string, error) {
				ids, _, err := s.candidates(ctx, s.db, options, 0)
				return ids, err
			})
		}
		return err
	})
	if err != nil {
		return nil, s.taken(err)
	}
	s.recount(ctx)
	return claimed, nil
}

// taken returns the error of a claim. It returns nil if every attempt ended in a
// deadlock on MySQL: another claim, perhaps on another node of a cluster, has the
// rows.
func (s *Store) taken(err error) error {
	if s.table.Deadlocked(err) {
		return nil
	}
	return err
}

// passed returns how many of the first rows a claim skips on MySQL: none at first,
// and a random number after a conflict. Claims on different nodes of a cluster do
// not see each other's locks and would compete for the same rows again.
func passed(attempts, limit int) int {
	if attempts == 1 {
		return 0
	}
	return mathrand.IntN(attempts * limit)
}

// due returns the condition for rows that a claim may take. The caller adds that
// they are pending.
func (s *Store) due(options outbox.ClaimOptions) string {
	return "due_at <= " + s.dialect.now() + s.unscheduled(options)
}

// unscheduled returns an additional condition that leaves out scheduled rows.
func (s *Store) unscheduled(options outbox.ClaimOptions) string {
	if !options.SkipScheduled {
		return ""
	}
	return " AND (deliver_at IS NULL OR deliver_at <= " + s.dialect.now() + ")"
}

// dueText returns the query that finds pending rows in the order of claims.
func (s *Store) dueText(what, condition string, limit, passed int, v *values) string {
	text := "SELECT " + what + " FROM " + s.table.using(s.table.due()) + " WHERE " + s.dialect.pending() + " AND " + condition
	text += v.planned() + " ORDER BY due_at, id LIMIT " + v.number(int64(limit)) + offset(passed)
	if s.dialect != SQLite {
		text += " FOR UPDATE SKIP LOCKED"
	}
	return text
}

// offset returns a clause that skips rows.
func offset(passed int) string {
	if passed == 0 {
		return ""
	}
	return fmt.Sprintf(" OFFSET %d", passed)
}

// claimQuery returns the statement that claims on PostgreSQL.
func (s *Store) claimQuery(options outbox.ClaimOptions, token string) (string, []any) {
	v := s.dialect.querying()
	due := s.dueText("id, due_at, size, 0 AS place", s.due(options), options.Limit, 0, v)
	return s.claimText(v, due, "", options.MaxBytes, true, micros(options.Lease), token), v.args
}

// claimText returns the statement that claims the rows found by a query with the
// columns id, due_at, size and place, for lease microseconds. The first row may
// exceed maxBytes if oversized is set. The statement returns a record's columns, and
// the columns in more.
//
// It looks up the rows by an array of their IDs, so that PostgreSQL uses the primary
// key however many rows the planner expects.
func (s *Store) claimText(v *values, due, more string, maxBytes int64, oversized bool, lease int64, token string) string {
	if maxBytes == 0 {
		maxBytes = math.MaxInt64
	}
	first := int64(0)
	if oversized {
		first = 1
	}
	return strings.NewReplacer(
		"DUE", due,
		"MAXBYTES", v.number(maxBytes),
		"FIRST", v.number(first),
		"MORE", more,
		"TABLE", s.table.SQL(),
		"NOW", s.dialect.now(),
		"LEASE", v.number(lease),
		"TOKEN", v.text(token),
		"COLUMNS", columns,
	).Replace(`WITH due AS (
	DUE
), fitting AS (
	SELECT id, place, due_at AS was_due FROM (
		SELECT id, place, due_at, sum(size) OVER (ORDER BY place, due_at, id) AS bytes, row_number() OVER (ORDER BY place, due_at, id) AS n FROM due
	) AS counted WHERE n = FIRST OR bytes <= MAXBYTES
), claimed AS (
	UPDATE TABLE SET due_at = NOW + LEASE, token = TOKEN, attempts = attempts + 1
	WHERE id = ANY (ARRAY(SELECT id FROM fitting)) RETURNING COLUMNS
)
SELECT COLUMNSMORE FROM claimed JOIN fitting USING (id) ORDER BY place, was_due, id`)
}

// candidates finds due rows and returns the IDs of the ones that fit into MaxBytes, in
// order, and the database's time.
func (s *Store) candidates(ctx context.Context, db runner, options outbox.ClaimOptions, passed int) (ids []string, now int64, err error) {
	var bytes int64
	full := false
	query := s.dueText("id, size, "+s.dialect.now(), s.due(options), options.Limit, passed, s.dialect.literals())
	err = each(ctx, db, query, nil, func(scan func(...any) error) error {
		var id string
		var size int64
		if err := scan(&id, &size, &now); err != nil {
			return err
		}
		bytes += size
		full = full || options.MaxBytes > 0 && bytes > options.MaxBytes && len(ids) > 0
		if !full {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, now, err
}

// listed is the maximum number of IDs in a statement. It keeps the statement well
// below SQLite's limit of one megabyte, and is the step size of Retry and Discard.
const listed = 1000

// claimLocked claims in a transaction that locks the rows first. It reads payloads
// last, and only the ones of claimed rows.
func (s *Store) claimLocked(ctx context.Context, tx *sql.Conn, options outbox.ClaimOptions, passed int) ([]outbox.Record, error) {
	ids, now, err := s.candidates(ctx, tx, options, passed)
	if passed > 0 && len(ids) == 0 && err == nil {
		ids, now, err = s.candidates(ctx, tx, options, 0)
	}
	if err != nil {
		return nil, err
	}
	return s.leaseLocked(ctx, tx, ids, dueBy(now), now+micros(options.Lease), rand.Text())
}

// dueBy returns a condition for rows that were due at a time.
func dueBy(now int64) string { return fmt.Sprintf("outbox.due_at <= %d", now) }

// leaseLocked leases rows until a time and returns them in the order of ids. The
// query that found the rows has locked them. Databases that accept the locking
// clause and ignore it may let another claim take the rows first: so the rows must
// still be pending and match the condition, and only rows with the token are
// returned.
func (s *Store) leaseLocked(ctx context.Context, tx *sql.Conn, ids []string, condition string, until int64, token string) ([]outbox.Record, error) {
	var claimed []outbox.Record
	for group := range parts(s, ids, listed, weightID) {
		if _, err := change(ctx, tx, s.leaseLockedText(group, condition, until, token)); err != nil {
			return nil, err
		}
		if err := each(ctx, tx, s.leasedText(group, token), nil, scanRecords(&claimed)); err != nil {
			return nil, err
		}
	}
	return ordered(claimed, ids), nil
}

// leaseLockedText returns the statement that leases rows on MySQL.
func (s *Store) leaseLockedText(ids []string, condition string, until int64, token string) string {
	return fmt.Sprintf("UPDATE %s AND outbox.state = 0 AND %s SET outbox.due_at = %d, outbox.token = %s, outbox.attempts = outbox.attempts + 1",
		s.among(ids), condition, until, s.dialect.text(token))
}

// leasedText returns the query for the rows that have a token.
func (s *Store) leasedText(ids []string, token string) string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE id IN (%s) AND token = %s", columns, s.table.SQL(), s.dialect.texts(ids), s.dialect.text(token))
}

// leaseOptimistic finds rows and then takes the ones that are still due. If another
// claim has taken all of them, it searches again.
func (s *Store) leaseOptimistic(ctx context.Context, options outbox.ClaimOptions, find func() ([]string, error)) ([]outbox.Record, error) {
	for {
		ids, err := find()
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		var claimed []outbox.Record
		token := rand.Text()
		for group := range parts(s, ids, listed, weightID) {
			err := each(ctx, s.db, s.leaseText(group, "due_at <= "+s.dialect.now(), micros(options.Lease), token), nil, scanRecords(&claimed))
			if err != nil {
				return nil, err
			}
		}
		if len(claimed) > 0 {
			return ordered(claimed, ids), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// leaseText returns the statement that leases the rows that still match a condition,
// for lease microseconds.
func (s *Store) leaseText(ids []string, condition string, lease int64, token string) string {
	return fmt.Sprintf("UPDATE %s SET due_at = %s + %d, token = %s, attempts = attempts + 1 "+
		"WHERE id IN (%s) AND %s AND %s RETURNING %s",
		s.table.SQL(), s.dialect.now(), lease, s.dialect.text(token), s.dialect.texts(ids),
		s.dialect.filter("state = 0"), s.dialect.filter(condition), columns)
}

// ordered sorts records in the order of ids.
func ordered(records []outbox.Record, ids []string) []outbox.Record {
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[id] = i
	}
	slices.SortFunc(records, func(a, b outbox.Record) int { return place[a.ID] - place[b.ID] })
	return records
}
