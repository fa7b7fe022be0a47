package sqlstore

import (
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Store is an outbox in a table of the caller's database. It is safe for concurrent
// use, and several stores, in one process or many, can share a table. Create one
// with [New].
type Store struct {
	db       *sqltable.Pool
	dialect  Dialect
	table    table
	prepare  bool
	capacity *capacity // nil without bounds
	turns    gate      // turns of the calls that change the table, on SQLite
	walker   topicwalk.Walker
	closed   atomic.Bool

	prepared statements
	// keyedTexts caches the results of insertKeyedText by number of rows.
	keyedTexts sync.Map
	encoding   encoding
	packet     packet
}

var (
	_ outbox.TxKeeper = (*Store)(nil)
	_ outbox.Prober   = (*Store)(nil)
)

// New returns a store in a table of a database that the caller has opened. It does
// not access the database: [Store.Check] reports whether the table exists, and
// [Migrate] creates it.
//
// The error is [outbox.ErrInvalid] and names the argument.
func New(db *sql.DB, dialect Dialect, options ...Option) (*Store, error) {
	if db == nil {
		return nil, fmt.Errorf("%w: db is nil", outbox.ErrInvalid)
	}
	if err := sqltable.Dialect(dialect).Validate(outbox.ErrInvalid); err != nil {
		return nil, err
	}
	settings, err := configure(options)
	if err != nil {
		return nil, err
	}
	table, err := parseTable(dialect, settings.table)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db:      &sqltable.Pool{DB: db, Dialect: sqltable.Dialect(dialect)},
		dialect: dialect,
		table:   table,
		prepare: dialect != Postgres,
	}
	if settings.prepare != nil {
		s.prepare = *settings.prepare
	}
	if settings.maxRecords > 0 || settings.maxBytes > 0 {
		s.capacity = newCapacity(settings.maxRecords, settings.maxBytes)
	}
	return s, nil
}

// Close marks the store as closed, so that every later call fails with
// [outbox.ErrClosed]. It does not close the database. Closing again has no effect.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.prepared.close()
	return nil
}

// Retries counts the attempts that a store has repeated.
type Retries struct {
	// Conflicts are attempts that the database undid because of others: a deadlock,
	// a serialization failure, a lock timeout, or a certification conflict with
	// another node of a cluster.
	Conflicts int64
	// Failovers are attempts that failed because the connection was broken, or its
	// server read-only, starting, shutting down or without a quorum.
	Failovers int64
}

// Retries returns how many attempts of its own calls the store has repeated since
// [New]. It never repeats a transaction of the caller.
func (s *Store) Retries() Retries { return Retries(s.db.Retries()) }
