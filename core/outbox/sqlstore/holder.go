package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// The row with a key in its column dedup_key holds the key. Releases for version 1
// of the schema used the key as the row's id, so such a row holds it too.

// holders returns the IDs of the rows that hold a key: one or, while releases for
// version 1 are running, possibly two.
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

// held reports whether a row is known to hold a key, so that an insert is not
// needed: by its id, which the index of keys does not cover, and on MySQL also by
// its key.
//
// On MySQL, an insert that waits for a transaction with the same key would make all
// inserts near it wait. So held asks without waiting, until that transaction or the
// context has ended.
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

// heldPause is the pause before held asks again for a key of an open transaction.
const heldPause = 10 * time.Millisecond

// find reports whether a row has a value in a unique column.
func (s *Store) find(ctx context.Context, db runner, column, value, lock string) (bool, error) {
	v := s.dialect.querying()
	var id string
	return first(ctx, db, s.findText(v, column, value, lock), v.args, &id)
}

// findText returns the query for the ID of the row with a value in a unique column,
// and locks the row. A transaction that reads an old snapshot may see two rows: the
// older one and its own insert, which is the later.
func (s *Store) findText(v *values, column, value, lock string) string {
	return "SELECT id FROM " + s.table.SQL() + " WHERE " + column + " = " + v.text(value) + v.planned() + " ORDER BY id DESC LIMIT 1" + lock
}

// asker runs a query that returns one row with one column, in a transaction of the
// caller.
type asker func(ctx context.Context, query string, args []any, into *string) error

// asks returns the function that queries a transaction.
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

// findTx returns the ID of the row with a value in a column, as seen by a
// transaction of the caller, and locks the row; empty if there is none.
func (s *Store) findTx(ctx context.Context, ask asker, column, value, lock string) (string, error) {
	var id string
	v := s.dialect.querying()
	query := "SELECT coalesce((" + s.findText(v, column, value, lock) + "), '')"
	err := ask(ctx, query, v.args, &id)
	return id, err
}

// heldTx reports whether a row is known to hold a key, as seen by a transaction of
// the caller, so that an insert is not needed: by its id, which the index of keys
// does not cover; on MySQL also by its key, because a conflicting insert would lock
// the gap beside the row, and block the inserts of others, until the transaction
// ends.
//
// The transaction may read an old snapshot (REPEATABLE READ). Locking the row reads
// its current version: MySQL returns it, and PostgreSQL returns an error if it
// differs. The lock is by id, and only on a row that was seen without a lock before,
// so that it locks no gap unless the row was deleted.
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

// lockMySQL locks the rows of a query against changes.
const lockMySQL = " LOCK IN SHARE MODE"

// HolderTx returns the ID of the record that holds a DedupKey, as seen by a
// transaction of the caller, after InsertTx has inserted one or left it out. It
// returns false if the transaction sees none, for example on MySQL at REPEATABLE
// READ if the holder has changed since the transaction began. It accepts the same
// transactions as InsertTx of records with a key. After an error, roll the
// transaction back.
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
		id, err = s.findTx(ctx, ask, "id", id, lockMySQL) // it may come from an old snapshot
	}
	return strings.TrimPrefix(id, keptPrefix), id != "", s.wrap(ctx, "find the holder of a key", err)
}

// nameHolders restricts the IDs of a query to the holders of its key.
func (s *Store) nameHolders(ctx context.Context, query *outbox.Query) error {
	ids, err := s.holders(ctx, query.DedupKey)
	if named := query.IDs; len(named) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(named, id) })
	}
	query.IDs = ids
	return err
}
