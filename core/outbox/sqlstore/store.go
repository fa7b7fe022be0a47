package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Store is an outbox in a table of the caller's database. It is safe for
// concurrent use, and several stores, in one process or many, may share a
// table. Use [New] to get one.
type Store struct {
	db      *sql.DB
	dialect Dialect
	table   table
	prepare bool
	room    *room // nil without bounds
	closed  atomic.Bool

	mutex    sync.Mutex
	prepared map[string]*sql.Stmt
}

var _ outbox.TxStore = (*Store)(nil)

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
		db:       db,
		dialect:  dialect,
		table:    table,
		prepare:  dialect != Postgres,
		prepared: make(map[string]*sql.Stmt),
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
	s.mutex.Lock()
	statements := s.prepared
	s.prepared = nil
	s.mutex.Unlock()
	for _, statement := range statements {
		// A connection that is gone has lost its statements by itself.
		_ = statement.Close()
	}
	return nil
}

// statement returns a prepared statement, which the store keeps. database/sql
// prepares it anew on connections that do not have it yet.
func (s *Store) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mutex.Lock()
	statement, ok := s.prepared[query]
	s.mutex.Unlock()
	if ok {
		return statement, nil
	}
	statement, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.prepared == nil { // closed
		_ = statement.Close()
		return nil, outbox.ErrClosed
	}
	if earlier, ok := s.prepared[query]; ok { // another call was faster
		_ = statement.Close()
		return earlier, nil
	}
	s.prepared[query] = statement
	return statement, nil
}
