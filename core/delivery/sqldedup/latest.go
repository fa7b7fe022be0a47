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

// A key with versions has two rows. The first is begun, done and aborted like that
// of a message, so that one version of the key is handled at a time. The second has
// the latest handled version in the column of the token. Only the holder of the
// first row changes the second, in one transaction.

// BeginLatest implements [delivery.LatestDeduplicator]. An outdated message costs
// one query, any other two queries more than Begin.
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
	// Another version may have been handled since. From now on none can be.
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
	err := s.first(ctx, s.sql.read(claimed.versions), &text, &done, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	handled, err := strconv.ParseInt(text, 10, 64)
	return err == nil && !ended && handled >= claimed.version, err
}

// doneLatest remembers a version, in a separate transaction.
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

// remember remembers a version and releases the key, in a transaction. The row that
// was begun stays for a moment, so that the call can be repeated.
func (s *Store) remember(ctx context.Context, tx execer, claimed latestClaim, keep time.Duration) error {
	if err := affected(run(ctx, tx, s.sql.done(claimed.running, claimed.token, 0))); err != nil {
		return err
	}
	_, err := run(ctx, tx, s.sql.remember(claimed.versions, claimed.version, keep))
	return err
}

// latestClaim is the content of a token of BeginLatest.
type latestClaim struct {
	running, versions string // the ids of the rows
	version           int64
	token             string // the token of the row that was begun
}

// String returns the token for the caller.
func (c latestClaim) String() string { return strconv.FormatInt(c.version, 10) + " " + c.token }

// parseClaim parses a token of BeginLatest; false for any other token.
func parseClaim(key, token string) (latestClaim, bool) {
	text, token, ok := strings.Cut(token, " ")
	version, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return latestClaim{}, false
	}
	return latestClaim{running: runningID(key), versions: versionsID(key), version: version, token: plain(token)}, true
}

// runningID and versionsID are the ids of a key's rows. They never equal the id of a
// message.
func runningID(key string) string  { return hash("running " + hash(key)) }
func versionsID(key string) string { return hash("versions " + hash(key)) }
