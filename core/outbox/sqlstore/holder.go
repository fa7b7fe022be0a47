package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// A key is held by the row that has it in its column. Releases for version 1 of
// the schema gave the row the key for its id, so such a row holds it too.

// holders returns the IDs of the rows that hold a key: one or, while releases
// for version 1 are at work, perhaps two.
func (s *Store) holders(ctx context.Context, key string) ([]string, error) {
	var ids []string
	err := s.do(ctx, "list", func() error {
		ids = nil
		v := s.dialect.querying()
		text := s.holdersText(v, key)
		return each(ctx, s.db, text, v.args, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	return ids, err
}

func (s *Store) holdersText(v *values, key string) string {
	return fmt.Sprintf("SELECT id FROM %s WHERE dedup_key = %s%s UNION ALL SELECT id FROM %s WHERE id = %s%s",
		s.table.SQL(), v.text(key), v.planned(), s.table.SQL(), v.text(key), v.planned())
}

// held tells whether a row is known to hold a key, so that no insert is to be
// tried: by its id, which no index would tell, and on MySQL by its key.
//
// There an insert that waits for a transaction with the same key would have all
// inserts beside it wait, so this asks without waiting until that transaction has
// ended, or the context.
func (s *Store) held(db runner) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, key string) (bool, error) {
		found, err := s.find(ctx, db, "id", key, "")
		if found || err != nil || s.dialect != MySQL {
			return found, err
		}
		for {
			found, err = s.find(ctx, db, "dedup_key", key, " FOR UPDATE NOWAIT")
			if err == nil || !s.locked(err) {
				return found, err
			}
			if err := pause(ctx, heldPause, err); err != nil {
				return false, err
			}
		}
	}
}

// heldPause is for how long a key that a transaction has inserted is left alone.
const heldPause = 10 * time.Millisecond

// find tells whether there is a row with a value in a unique column.
func (s *Store) find(ctx context.Context, db runner, column, value, lock string) (bool, error) {
	v := s.dialect.querying()
	var id string
	return first(ctx, db, s.findText(v, column, value, lock), v.args, &id)
}

// findText returns the query for the ID of the row that has a value in a unique
// column, and locks it. A transaction that sees the past may see two: the one that
// it has inserted, which is the later, and the one before.
func (s *Store) findText(v *values, column, value, lock string) string {
	return "SELECT id FROM " + s.table.SQL() + " WHERE " + column + " = " + v.text(value) + v.planned() + " ORDER BY id DESC LIMIT 1" + lock
}

// asker runs a query that returns one row of one column in a transaction of the
// caller's.
type asker func(ctx context.Context, query string, args []any, into *string) error

// asks returns what runs queries in a transaction.
func asks(tx outbox.Tx) (asker, error) {
	switch tx := tx.(type) {
	case interface {
		ask(ctx context.Context, query string, args []any, into *string) error
	}:
		return tx.ask, nil
	case runner:
		return func(ctx context.Context, query string, args []any, into *string) error {
			_, err := first(ctx, tx, query, args, into)
			return err
		}, nil
	default:
		return nil, fmt.Errorf("%w: tx has no method QueryContext, which records with a DedupKey need", outbox.ErrInvalid)
	}
}

// findTx returns the ID of the row that has a value in a column, as a transaction
// of the caller's sees it, and locks it; empty if there is none.
func (s *Store) findTx(ctx context.Context, ask asker, column, value, lock string) (string, error) {
	var id string
	v := s.dialect.querying()
	query := "SELECT coalesce((" + s.findText(v, column, value, lock) + "), '')"
	err := ask(ctx, query, v.args, &id)
	return id, err
}

// heldTx tells whether a row is known to hold a key in a transaction of the
// caller's, so that no insert is to be tried: by its id, which no index would
// tell; on MySQL also by its key, where an insert that conflicts would lock the
// gap beside the row, and with it the inserts of others, until the transaction
// ends.
//
// The transaction may see the past (REPEATABLE READ). A lock on the row has it
// see the present: MySQL shows what there is, and PostgreSQL refuses where that
// differs. It is by id, and only of a row that was seen without a lock before:
// that locks no gap but where the row has gone.
func (s *Store) heldTx(ask asker) func(context.Context, string) (bool, error) {
	lock := map[Dialect]string{Postgres: " FOR KEY SHARE", MySQL: lockMySQL}[s.dialect]
	return func(ctx context.Context, key string) (bool, error) {
		id, err := s.findTx(ctx, ask, "id", key, "")
		if err == nil && id == "" && s.dialect == MySQL {
			id, err = s.findTx(ctx, ask, "dedup_key", key, "")
		}
		if err == nil && id != "" {
			id, err = s.findTx(ctx, ask, "id", id, lock)
		}
		return id != "", err
	}
}

// lockMySQL locks the rows that a query finds against being changed.
const lockMySQL = " LOCK IN SHARE MODE"

// HolderTx returns the ID of the record that holds a DedupKey, as a transaction
// of the caller's sees it, after InsertTx has inserted one or left it out;
// false if it sees none, as on MySQL at REPEATABLE READ, where the holder has
// changed since it began. It takes the transactions that InsertTx takes for
// records with a key. After an error roll the transaction back.
func (s *Store) HolderTx(ctx context.Context, tx outbox.Tx, dedupKey string) (string, bool, error) {
	query := outbox.Query{DedupKey: dedupKey}
	if err := checkTx(tx); err != nil {
		return "", false, err
	}
	if err := query.Validate(); err != nil || dedupKey == "" {
		return "", false, err
	}
	ask, err := asks(tx)
	if err != nil {
		return "", false, err
	}
	if s.closed.Load() {
		return "", false, outbox.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return "", false, err
	}
	id, err := s.findTx(ctx, ask, "dedup_key", dedupKey, "")
	if err == nil && id == "" {
		id, err = s.findTx(ctx, ask, "id", dedupKey, "")
	}
	if err == nil && id != "" && s.dialect == MySQL {
		id, err = s.findTx(ctx, ask, "id", id, lockMySQL) // it may be of the past
	}
	return strings.TrimPrefix(id, keptPrefix), id != "", s.wrap(ctx, "find the holder of a key", err)
}

// nameHolders leaves those IDs of a query that hold its key.
func (s *Store) nameHolders(ctx context.Context, query *outbox.Query) error {
	ids, err := s.holders(ctx, query.DedupKey)
	if named := query.IDs; len(named) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(named, id) })
	}
	query.IDs = ids
	return err
}
