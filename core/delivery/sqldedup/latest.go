package sqldedup

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// A key with versions has two rows. One is begun, done and aborted like that of
// a message, so that one version of the key is handled at a time. The other has
// the latest version that was handled in the place of the token. Only who has
// begun the first row changes the other, in one transaction.

// BeginLatest is part of [delivery.LatestDeduplicator]. A message that was
// overtaken costs one query, any other two queries more than Begin.
func (s *Store) BeginLatest(ctx context.Context, key string, version int64, lease time.Duration) (delivery.State, string, error) {
	claimed := latestClaim{running: runningID(key), versions: versionsID(key), version: version}
	state, err := s.beginLatest(ctx, &claimed, lease)
	if err != nil || state != delivery.Begun {
		return state, "", s.wrap(ctx, "begin", err)
	}
	return state, claimed.String(), nil
}

func (s *Store) beginLatest(ctx context.Context, claimed *latestClaim, lease time.Duration) (state delivery.State, err error) {
	stale, err := s.stale(ctx, *claimed)
	if err != nil {
		return 0, err
	}
	if stale {
		return delivery.Handled, nil
	}
	state, claimed.token, err = s.begin(ctx, claimed.running, lease)
	if err != nil || state != delivery.Begun {
		return state, err
	}
	// Another version may have been handled since. From now on none is.
	stale, err = s.stale(ctx, *claimed)
	if err == nil && !stale {
		return delivery.Begun, nil
	}
	_, aborted := s.change(ctx, s.sql.abort(claimed.running, claimed.token))
	if err = errors.Join(err, aborted); err != nil {
		return 0, err
	}
	return delivery.Handled, nil
}

// stale reports whether the version or a newer one was handled.
func (s *Store) stale(ctx context.Context, claimed latestClaim) (bool, error) {
	var text string
	var done, ended bool
	err := s.first(ctx, s.sql.look(claimed.versions), &text, &done, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	handled, err := strconv.ParseInt(text, 10, 64)
	return err == nil && !ended && handled >= claimed.version, err
}

// doneLatest remembers a version, in a transaction of its own.
func (s *Store) doneLatest(ctx context.Context, claimed latestClaim, keep time.Duration) error {
	return s.db.Use(ctx, func(conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if err := s.remember(ctx, tx, claimed, keep); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// remember remembers a version and lets others begin, in a transaction. The row
// that was begun stays for a moment, so that this may be repeated.
func (s *Store) remember(ctx context.Context, tx execer, claimed latestClaim, keep time.Duration) error {
	if err := affected(run(ctx, tx, s.sql.done(claimed.running, claimed.token, 0))); err != nil {
		return err
	}
	_, err := run(ctx, tx, s.sql.remember(claimed.versions, claimed.version, keep))
	return err
}

// latestClaim is what a token of BeginLatest stands for.
type latestClaim struct {
	running, versions string // the ids of the rows
	version           int64
	token             string // of the row that was begun
}

// String returns the token that the caller gets.
func (c latestClaim) String() string { return strconv.FormatInt(c.version, 10) + " " + c.token }

// parseClaim reads a token of BeginLatest; false for any other.
func parseClaim(key, token string) (latestClaim, bool) {
	text, token, ok := strings.Cut(token, " ")
	version, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return latestClaim{}, false
	}
	return latestClaim{running: runningID(key), versions: versionsID(key), version: version, token: plain(token)}, true
}

// runningID and versionsID are the ids of a key's rows. No key of a message has
// one of them.
func runningID(key string) string  { return hash("running " + hash(key)) }
func versionsID(key string) string { return hash("versions " + hash(key)) }
