package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// A remembered key is the emptied row of its record: it is pending, has no topic,
// and is due and created later than any record. Claim, Next and the counts walk
// along indexes by these columns and stop before it or begin after it. Its id sorts
// before those of records, so that List begins after it.

const (
	// keptDue is the beginning of the year 2500. The due time of a remembered key is
	// the end of its time plus keptDue.
	keptDue int64 = 16_725_225_600_000_000
	// firstID sorts before the IDs of all records.
	firstID = "\x01\x02"
)

// finishMany is how many records a statement finishes, and finishFew how many the
// statement for few records does.
const (
	finishMany = 100
	finishFew  = 16
)

// finishing are the statements that finish a given number of records.
type finishing struct {
	ids                   int
	read, remove, rewrite string
}

func newFinishing(ids int) *finishing {
	which := ` WHERE id IN (?` + strings.Repeat(", ?", ids-1) + `)`
	return &finishing{
		ids: ids, read: `SELECT state, size, dedup_key IS NOT NULL FROM outbox` + which, remove: `DELETE FROM outbox` + which,
		rewrite: updateFinish + which + ` AND dedup_key IS NOT NULL`,
	}
}

var (
	finishingFew, finishingMany = newFinishing(finishFew), newFinishing(finishMany)

	updateFinish = fmt.Sprintf(`UPDATE outbox SET id = char(1, 1) || seq, state = 0, due_at = ?, created_at = %d, token = '', attempts = 0, deliver_at = NULL,
size = 0, topic = '', last_error = '', attributes = x'7b7d', payload = x'7b7d'`, keptDue)
	deleteExpired = fmt.Sprintf(`DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox INDEXED BY outbox_due
WHERE state = 0 AND due_at >= %d AND due_at <= ? ORDER BY due_at, id LIMIT ?)`, keptDue)
)

// SharesCommits returns true: concurrent inserts share commits.
func (s *Store) SharesCommits() bool { return true }

// InsertNew stores all records or none, and reports which are new.
func (s *Store) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	return s.insert(ctx, delay, records)
}

// Finish removes records, 100 in a statement, and remembers their keys.
func (s *Store) Finish(ctx context.Context, keep time.Duration, ids ...string) (int, error) {
	if err := outbox.ValidateFinish(keep, ids...); err != nil {
		return 0, err
	}
	finished := 0
	err := s.write(ctx, func(w *writer) error {
		finished = 0
		until := keptDue + later(s.clock.now(), keep)
		for group := range slices.Chunk(ids, finishMany) {
			n, err := w.finish(until, group)
			if err != nil {
				return err
			}
			finished += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return finished, nil
}

// finish finishes up to finishMany records.
func (w *writer) finish(until int64, ids []string) (int, error) {
	statements := finishingMany
	if len(ids) <= finishFew {
		statements = finishingFew
	}
	args := make([]any, statements.ids)
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)] // repeats the last one as padding
	}
	keyed, keyless := 0, 0
	err := w.rows(statements.read, args, func(scan func(...any) error) (bool, error) {
		var state outbox.State
		var size int64
		var hasKey bool
		if err := scan((*int)(&state), &size, &hasKey); err != nil {
			return false, err
		}
		w.counts.add(state, -1, -size)
		if hasKey {
			keyed++
		} else {
			keyless++
		}
		return true, nil
	})
	if err == nil && keyed > 0 {
		err = w.exec(statements.rewrite, slices.Concat([]any{until}, args)...)
	}
	if err == nil && keyless > 0 {
		err = w.exec(statements.remove, args...)
	}
	return keyed + keyless, err
}

// Forget removes keys whose time has ended, found by an index.
func (s *Store) Forget(ctx context.Context, limit int) (int, error) {
	if err := outbox.ValidateForget(limit); err != nil {
		return 0, err
	}
	forgotten := 0
	err := s.write(ctx, func(w *writer) (err error) {
		forgotten, err = w.change(deleteExpired, keptDue+s.clock.now().UnixMicro(), limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	return forgotten, nil
}
