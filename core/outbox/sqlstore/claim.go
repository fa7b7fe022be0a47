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

// Claim leases due records, the longest due first, of those the lowest ID, or
// topic by topic. Its cost is that of the records it returns, whatever else waits;
// with SkipScheduled, also that of passing the due ones it skips, and with PerTopic
// that of passing topics without due ones.
//
// A record that another claim is just taking, or that another statement is
// just changing, is passed over. After a conflict on MySQL, such as with a claim on
// another node of a Galera cluster, some of the first records are passed over too.
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

// taken returns the error of a claim; none where it has met nothing but deadlocks on
// MySQL: each time another claim, perhaps on another node of a cluster, has taken the
// rows.
func (s *Store) taken(err error) error {
	if s.table.Deadlocked(err) {
		return nil
	}
	return err
}

// passed is how many of the first rows a claim passes over on MySQL: none, but after
// a conflict a number drawn at random. Claims on the nodes of a cluster do not see
// each other's locks, and would go for the same rows again.
func passed(attempts, limit int) int {
	if attempts == 1 {
		return 0
	}
	return mathrand.IntN(attempts * limit)
}

// due is the condition of the rows that a claim may take, beside that they are
// pending.
func (s *Store) due(options outbox.ClaimOptions) string {
	return "due_at <= " + s.dialect.now() + s.unscheduled(options)
}

// unscheduled is one more condition where scheduled rows are left out.
func (s *Store) unscheduled(options outbox.ClaimOptions) string {
	if !options.SkipScheduled {
		return ""
	}
	return " AND (deliver_at IS NULL OR deliver_at <= " + s.dialect.now() + ")"
}

// dueText returns the query that finds pending rows, in the order of claims.
func (s *Store) dueText(what, condition string, limit, passed int, v *values) string {
	text := "SELECT " + what + " FROM " + s.table.using(s.table.due()) + " WHERE " + s.dialect.pending() + " AND " + condition
	text += v.planned() + " ORDER BY due_at, id LIMIT " + v.number(int64(limit)) + offset(passed)
	if s.dialect != SQLite {
		text += " FOR UPDATE SKIP LOCKED"
	}
	return text
}

// offset passes over rows.
func offset(passed int) string {
	if passed == 0 {
		return ""
	}
	return fmt.Sprintf(" OFFSET %d", passed)
}

// claimQuery returns the one statement that claims on PostgreSQL.
func (s *Store) claimQuery(options outbox.ClaimOptions, token string) (string, []any) {
	v := s.dialect.querying()
	due := s.dueText("id, due_at, size, 0 AS place", s.due(options), options.Limit, 0, v)
	return s.claimText(v, due, "", options.MaxBytes, true, micros(options.Lease), token), v.args
}

// claimText returns the statement that claims what a query finds, by its columns
// id, due_at, size and place, for so many microseconds. The bytes of the first row
// may exceed the bound if it may be oversized. The statement returns a record's
// columns and more.
//
// The rows to lease are found by an array of their IDs, so that they are read
// by the primary key however many the planner expects.
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

// candidates finds due rows and returns the IDs of those that fit into the
// claim's bytes, in order, and the database's time.
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

// listed is how many IDs a statement lists. It keeps the statement well below
// the megabyte that SQLite takes, and is how many records Retry and Discard
// change in a step.
const listed = 1000

// claimLocked claims in a transaction in which the rows are locked first. The
// payloads are read last, and only those that are claimed.
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

// dueBy is the condition of rows that were due at a time.
func dueBy(now int64) string { return fmt.Sprintf("outbox.due_at <= %d", now) }

// leaseLocked leases rows until a time, and returns them in the order of their IDs
// in the list. The rows were locked when they were found. Databases that accept the
// words for that and lock nothing let another claim take them first: so they must
// be pending and meet the condition still, and what is returned has the token.
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

// leaseLockedText returns the statement that leases rows of some IDs on MySQL.
func (s *Store) leaseLockedText(ids []string, condition string, until int64, token string) string {
	return fmt.Sprintf("UPDATE %s AND outbox.state = 0 AND %s SET outbox.due_at = %d, outbox.token = %s, outbox.attempts = outbox.attempts + 1",
		s.among(ids), condition, until, s.dialect.text(token))
}

// leasedText returns the query for those rows of some IDs that have a token.
func (s *Store) leasedText(ids []string, token string) string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE id IN (%s) AND token = %s", columns, s.table.SQL(), s.dialect.texts(ids), s.dialect.text(token))
}

// leaseOptimistic claims by a statement that takes the rows found before if
// they are still due. Where another claim was faster with all of them, it
// looks again.
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

// leaseText returns the statement that takes rows, for so many microseconds,
// if a condition still holds for them.
func (s *Store) leaseText(ids []string, condition string, lease int64, token string) string {
	return fmt.Sprintf("UPDATE %s SET due_at = %s + %d, token = %s, attempts = attempts + 1 "+
		"WHERE id IN (%s) AND %s AND %s RETURNING %s",
		s.table.SQL(), s.dialect.now(), lease, s.dialect.text(token), s.dialect.texts(ids),
		s.dialect.filter("state = 0"), s.dialect.filter(condition), columns)
}

// ordered puts records in the order of their IDs in a list.
func ordered(records []outbox.Record, ids []string) []outbox.Record {
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[id] = i
	}
	slices.SortFunc(records, func(a, b outbox.Record) int { return place[a.ID] - place[b.ID] })
	return records
}
