package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// A remembered key is the emptied row of its record: it is pending, has no topic,
// and is due later than any record and any trial. Claims and counts walk along
// indexes by these columns and stop before it or begin after it. Its id sorts before
// those of records, so that lists begin after it. Older releases treat it as a trial
// row.

const (
	// keptDue is the beginning of the year 2500. The due time of a remembered key is
	// the end of its time plus keptDue.
	keptDue int64 = 16_725_225_600_000_000
	// keptPrefix begins the IDs of such rows; the record's ID follows.
	keptPrefix = "\x01\x01"
	// firstID sorts before the IDs of all records.
	firstID = "\x01\x02"
)

// InsertNew stores all records or none, like Insert, and reports which are new.
func (s *Store) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	ids, err := s.insertAll(ctx, delay, records)
	if err != nil {
		return nil, err
	}
	left := make(map[string]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	inserted := make([]bool, len(records))
	for i := range records {
		inserted[i] = left[records[i].ID]
		delete(left, records[i].ID)
	}
	return inserted, nil
}

// Finish removes records, regardless of who holds them, and remembers their keys,
// 1000 in a statement. If one of several statements fails, it returns the error and
// how many records the others finished.
func (s *Store) Finish(ctx context.Context, keep time.Duration, ids ...string) (int, error) {
	if err := outbox.ValidateFinish(keep, ids...); err != nil {
		return 0, err
	}
	if err := s.do(ctx, "finish", func() error { return nil }); err != nil {
		return 0, err
	}
	finished := 0
	err := inParts(ctx, s, s.write, "finish", sorted(ids), listed, weightID, func(part []string) error {
		keyed := func(*values) string { return " AND dedup_key IS NOT NULL" }
		n, err := s.removeBy(ctx, part, keyed, s.finishText(part, keep))
		finished += n
		if err == nil && n < len(part) { // some records have no key or do not exist
			n, err = s.remove(ctx, part, func(*values) string { return "" })
			finished += n
		}
		return err
	})
	return finished, err
}

// FinishTx does what Finish does in a transaction of the caller on the same
// database: a *sql.Tx, or a pgx.Tx wrapped by [PgxTx]. It calls only ExecContext.
// After an error, roll the transaction back.
func (s *Store) FinishTx(ctx context.Context, tx outbox.Tx, keep time.Duration, ids ...string) (int, error) {
	if err := checkTx(tx); err != nil {
		return 0, err
	}
	if err := outbox.ValidateFinish(keep, ids...); err != nil {
		return 0, err
	}
	if s.closed.Load() {
		return 0, outbox.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	finished := 0
	for part := range parts(s, sorted(ids), listed, weightID) {
		n, err := changeTx(ctx, tx, s.finishText(part, keep))
		finished += n
		if err == nil && n < len(part) {
			n, err = changeTx(ctx, tx, s.deleteText(part, func(*values) string { return "" }))
			finished += n
		}
		if err != nil {
			return finished, s.wrap(ctx, "finish in a transaction", err)
		}
	}
	return finished, nil
}

// changeTx runs a statement in a transaction of the caller and returns how many rows
// it changed.
func changeTx(ctx context.Context, tx outbox.Tx, statement string) (int, error) {
	result, err := tx.ExecContext(ctx, statement)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// finishText returns the statement that turns rows with a key into remembered keys.
func (s *Store) finishText(ids []string, keep time.Duration) string {
	empty := "x'7b7d'"
	if s.dialect == Postgres {
		empty = "'{}'"
	}
	text := `UPDATE TABLE SET id = PREFIX || id, state = 0, due_at = NOW + WAIT, token = '', attempts = 0, deliver_at = NULL, size = 0,
	topic = '', last_error = '', attributes = EMPTY, payload = EMPTY WHERE idAMONG AND dedup_key IS NOT NULL`
	if s.dialect == MySQL {
		text = `UPDATE NAMED AND outbox.dedup_key IS NOT NULL
SET outbox.id = CONCAT(PREFIX, outbox.id), outbox.state = 0, outbox.due_at = NOW + WAIT, outbox.token = '', outbox.attempts = 0,
	outbox.deliver_at = NULL, outbox.size = 0, outbox.topic = '', outbox.last_error = '', outbox.attributes = EMPTY, outbox.payload = EMPTY`
	}
	replacements := []string{
		"PREFIX", s.dialect.text(keptPrefix), "NOW", s.dialect.now(), "WAIT", fmt.Sprint(keptDue + micros(keep)), "EMPTY", empty,
	}
	if s.dialect == MySQL {
		replacements = append(replacements, "NAMED", s.among(ids))
	} else {
		replacements = append(replacements, "TABLE", s.table.SQL(), "AMONG", s.dialect.literals().among(ids))
	}
	return strings.NewReplacer(replacements...).Replace(text)
}

// Forget removes keys whose time has ended, found by the index for claims. If
// several processes call it at the same time, each may remove fewer.
func (s *Store) Forget(ctx context.Context, limit int) (int, error) {
	if err := outbox.ValidateForget(limit); err != nil {
		return 0, err
	}
	var ids []string
	err := s.do(ctx, "forget", func() error {
		ids = nil
		query, args := s.expiredQuery(limit)
		return each(ctx, s.db, query, args, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	forgotten := 0
	err = inParts(ctx, s, s.write, "forget", sorted(ids), listed, weightID, func(part []string) error {
		n, err := change(ctx, s.db, s.deleteText(part, func(*values) string { return fmt.Sprintf(" AND due_at >= %d", keptDue) }))
		forgotten += n
		return err
	})
	return forgotten, err
}

// expiredQuery returns the query for the IDs of keys whose time has ended.
func (s *Store) expiredQuery(limit int) (string, []any) {
	v := s.dialect.querying()
	return fmt.Sprintf("SELECT id FROM %s WHERE %s AND due_at >= %d AND due_at <= %d + %s%s ORDER BY due_at, id LIMIT %s",
		s.table.using(s.table.due()), s.dialect.pending(), keptDue, keptDue, s.dialect.now(), v.planned(), v.number(int64(limit))), v.args
}
