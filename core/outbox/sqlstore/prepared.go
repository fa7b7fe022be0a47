package sqlstore

import (
	"context"
	"database/sql"
	"sync"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// statements are the prepared statements that a store keeps, by their text.
// database/sql prepares each again on connections that do not have it yet.
type statements struct {
	mutex  sync.Mutex
	kept   map[string]*statement
	closed bool
}

// statement is a prepared statement. It is closed when it is no longer kept and no
// call uses it.
type statement struct {
	*sql.Stmt
	users int
	gone  bool
}

// exec runs a statement and keeps it for later calls. After an error it does not
// keep it: the server may have stored the rejected parameters with it and reject all
// others too.
func (s *statements) exec(ctx context.Context, db *sql.DB, query string, args ...any) (sql.Result, error) {
	statement, err := s.take(ctx, db, query)
	if err != nil {
		return nil, err
	}
	result, err := statement.ExecContext(ctx, args...)
	s.giveBack(query, statement, err == nil)
	return result, err
}

func (s *statements) take(ctx context.Context, db *sql.DB, query string) (*statement, error) {
	s.mutex.Lock()
	kept, ok := s.kept[query]
	if ok {
		kept.users++
	}
	s.mutex.Unlock()
	if ok {
		return kept, nil
	}
	prepared, err := db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		_ = prepared.Close() // it was not used
		return nil, outbox.ErrClosed
	}
	if kept, ok = s.kept[query]; ok { // another call has prepared it first
		_ = prepared.Close()
	} else {
		kept = &statement{Stmt: prepared}
		if s.kept == nil {
			s.kept = make(map[string]*statement)
		}
		s.kept[query] = kept
	}
	kept.users++
	return kept, nil
}

func (s *statements) giveBack(query string, used *statement, sound bool) {
	s.mutex.Lock()
	used.users--
	if !sound && s.kept[query] == used {
		delete(s.kept, query)
		used.gone = true
	}
	unused := used.gone && used.users == 0
	s.mutex.Unlock()
	if unused {
		// A closed connection has lost its statements already.
		_ = used.Close()
	}
}

// close closes all statements. Those in use are closed after their use.
func (s *statements) close() {
	s.mutex.Lock()
	var unused []*statement
	for _, kept := range s.kept {
		kept.gone = true
		if kept.users == 0 {
			unused = append(unused, kept)
		}
	}
	s.kept, s.closed = nil, true
	s.mutex.Unlock()
	for _, kept := range unused {
		_ = kept.Close()
	}
}
