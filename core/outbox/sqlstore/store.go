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

// Store is an outbox in a table of the caller's database. It is safe for
// concurrent use, and several stores, in one process or many, may share a
// table. Use [New] to get one.
type Store struct {
	db      *sqltable.Pool
	dialect Dialect
	table   table
	prepare bool
	room    *room // nil without bounds
	turns   gate  // of the calls that change the table, on SQLite
	walker  topicwalk.Walker
	closed  atomic.Bool

	prepared statements
	// keyedTexts are the texts of insertKeyedText by their rows.
	keyedTexts sync.Map
	encoding   encoding
	packet     packet
}

var (
	_ outbox.TxKeeper = (*Store)(nil)
	_ outbox.Prober   = (*Store)(nil)
)

// New returns the store in a table of a database, whose driver is the
// caller's. It does not use the database yet: [Store.Check] tells whether the
// table is there, and [Migrate] creates it.
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
		s.room = newRoom(settings.maxRecords, settings.maxBytes)
	}
	return s, nil
}

// Close marks the store as closed, so that every later call fails with
// [outbox.ErrClosed]. The database is the caller's and stays open. Closing
// again does nothing.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.prepared.close()
	return nil
}

// Retries counts what a store has run again.
type Retries struct {
	// Conflicts are the attempts that the database undid because of others: by a
	// deadlock, a serialization failure, a timeout of a lock, or a conflict with
	// another node of a cluster when it certified the transaction.
	Conflicts int64
	// Failovers are the attempts that failed because of their connection: it was
	// broken, or its server read-only, starting, ending or without a quorum.
	Failovers int64
}

// Retries returns how many attempts of its own calls the store has repeated since
// [New]. A transaction of the caller's is never repeated.
func (s *Store) Retries() Retries { return Retries(s.db.Retries()) }
