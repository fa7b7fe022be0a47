package sqldedup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// ErrInvalid means that an argument is invalid.
var ErrInvalid = errors.New("sqldedup: invalid argument")

// Removal of expired rows: more rows are removed than are added in between.
const (
	pruneEvery = 64
	pruneBatch = 256
)

// Store is a deduplicator in a table. It is safe for concurrent use, and any number
// of stores, in one process or many, can share a table. Create one with [New].
type Store struct {
	db    *sqltable.Pool
	table sqltable.Table
	sql   statements
	begun atomic.Uint64
}

var (
	_ delivery.TxDeduplicator     = (*Store)(nil)
	_ delivery.LatestDeduplicator = (*Store)(nil)
)

// Option changes a default of [New] or [Migrate].
type Option func(*settings) error

type settings struct{ table string }

// WithTable sets the name of the table, NAME or SCHEMA.NAME, of letters, digits and
// underscores. The default is [DefaultTable]. The store quotes the name.
func WithTable(name string) Option {
	return func(s *settings) error {
		s.table = name
		return nil
	}
}

// New returns a deduplicator in a table of a database that the caller has opened. It
// does not access the database: [Store.Check] reports whether the table exists, and
// [Migrate] creates it. The error is [ErrInvalid] and names the argument.
func New(db *sql.DB, dialect sqlstore.Dialect, options ...Option) (*Store, error) {
	if db == nil {
		return nil, fmt.Errorf("%w: db is nil", ErrInvalid)
	}
	chosen := settings{table: DefaultTable}
	for i, option := range options {
		if option == nil {
			return nil, fmt.Errorf("%w: options[%d] is nil", ErrInvalid, i)
		}
		if err := option(&chosen); err != nil {
			return nil, err
		}
	}
	t, err := parseTable(dialect, chosen.table)
	if err != nil {
		return nil, err
	}
	return &Store{db: &sqltable.Pool{DB: db, Dialect: t.Dialect}, table: t, sql: newStatements(t)}, nil
}

// Begin implements [delivery.Deduplicator].
func (s *Store) Begin(ctx context.Context, key string, lease time.Duration) (delivery.State, string, error) {
	state, token, err := s.begin(ctx, hash(key), lease)
	return state, token, s.wrap(ctx, "begin", err)
}

// begin begins a row that nobody holds.
func (s *Store) begin(ctx context.Context, id string, lease time.Duration) (delivery.State, string, error) {
	if s.begun.Add(1)%pruneEvery == 0 {
		// What fails now is removed next time; the statements below report a
		// database that does not work.
		_, _ = s.prune(ctx)
	}
	token := hash(rand.Text())
	for {
		state, err := s.tryBegin(ctx, id, token, lease)
		switch {
		case err != nil:
			return 0, "", err
		case state == delivery.Begun:
			return state, token, nil
		case state != 0:
			return state, "", nil
		}
		// The row was removed or taken over between two statements.
	}
}

// tryBegin tries to begin a row once. Without a state the caller tries again.
func (s *Store) tryBegin(ctx context.Context, id, token string, lease time.Duration) (delivery.State, error) {
	inserted, err := s.change(ctx, s.sql.insert(id, token, lease))
	if err != nil || inserted > 0 {
		return delivery.Begun, err
	}
	var holder string
	var done, ended bool
	err = s.first(ctx, s.sql.read(id), &holder, &done, &ended)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, err
	case holder == token: // the answer to the insert was lost
		return delivery.Begun, nil
	case !ended && done:
		return delivery.Handled, nil
	case !ended:
		return delivery.Running, nil
	}
	taken, err := s.change(ctx, s.sql.takeOver(id, holder, token, lease))
	if err != nil || taken == 0 {
		return 0, err
	}
	return delivery.Begun, nil
}

// Done implements [delivery.Deduplicator].
func (s *Store) Done(ctx context.Context, key, token string, keep time.Duration) error {
	var err error
	if claimed, ok := parseClaim(key, token); ok {
		err = s.db.Retry(ctx, func() error { return s.doneLatest(ctx, claimed, keep) })
	} else {
		err = affected(s.change(ctx, s.sql.done(hash(key), plain(token), keep)))
	}
	return s.wrap(ctx, "done", err)
}

// DoneTx implements [delivery.TxDeduplicator]. The transaction must be on the same
// database; nil is [ErrInvalid].
func (s *Store) DoneTx(ctx context.Context, tx outbox.Tx, key, token string, keep time.Duration) error {
	if typednil.Is(tx) {
		return fmt.Errorf("%w: tx is nil", ErrInvalid)
	}
	var err error
	if claimed, ok := parseClaim(key, token); ok {
		err = s.remember(ctx, tx, claimed, keep)
	} else {
		err = affected(run(ctx, tx, s.sql.done(hash(key), plain(token), keep)))
	}
	return s.wrap(ctx, "done in a transaction", err)
}

// Abort implements [delivery.Deduplicator].
func (s *Store) Abort(ctx context.Context, key, token string) error {
	id := hash(key)
	if claimed, ok := parseClaim(key, token); ok {
		id, token = claimed.running, claimed.token
	}
	_, err := s.change(ctx, s.sql.abort(id, plain(token)))
	return s.wrap(ctx, "abort", err)
}

// Prune removes all rows whose time has ended, and returns how many it removed.
// Calling it is optional: rows are removed gradually as messages arrive.
func (s *Store) Prune(ctx context.Context) (int, error) {
	total := 0
	for {
		n, err := s.prune(ctx)
		total += n
		if err != nil || n < pruneBatch {
			return total, s.wrap(ctx, "prune", err)
		}
	}
}

func (s *Store) prune(ctx context.Context) (int, error) { return s.change(ctx, s.sql.prune()) }

// hash converts a key to an id: text of fixed length that is safe in a statement.
func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// plain returns a token if it is hexadecimal, as all tokens are, and otherwise one
// that nobody holds.
func plain(token string) string {
	if _, err := hex.DecodeString(token); err != nil || len(token) != hex.EncodedLen(sha256.Size) {
		return "none"
	}
	return token
}
