package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"runtime"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// maxGroup is the maximum number of requests in a transaction. It bounds how long
// the first one waits for the last.
const maxGroup = 256

// request is a call to the writer.
type request struct {
	ctx context.Context
	// run does the work. It is called again if the first transaction was rolled
	// back, so it must start from scratch each time.
	run func(*writer) error
	// reads is set if run changes nothing, keeps if the caller relies on the
	// durability of what run writes.
	reads, keeps bool
	// ended is the context's error if the context had ended before run was called.
	ended error
	// done receives the result.
	done chan error
}

// writer owns the connection. Only the goroutine of Store.run uses it.
type writer struct {
	store      *Store
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	counts     counts
	files      []*watched
	// doubt is the reason why written data might be lost.
	doubt error
	// insecure is set if only the write-ahead log was lost, until its changes are in
	// the database.
	insecure bool
}

// counts are kept in memory, so that bounds and Stats cost nothing. They are exact
// because nobody else can write the file.
type counts struct {
	pending, dead int
	bytes         int64
}

// records is the number of all records.
func (c counts) records() int { return c.pending + c.dead }

// add adds records of a state; negative numbers subtract.
func (c *counts) add(state outbox.State, records int, bytes int64) {
	c.bytes += bytes
	if state == outbox.Dead {
		c.dead += records
	} else {
		c.pending += records
	}
}

// write has the writer run a change. If the context ends before the writer begins,
// its error is the result; after that, write waits for the outcome.
func (s *Store) write(ctx context.Context, run func(*writer) error) error {
	return s.submit(&request{ctx: ctx, run: run})
}

// keep is write for changes whose durability the caller relies on.
func (s *Store) keep(ctx context.Context, run func(*writer) error) error {
	return s.submit(&request{ctx: ctx, run: run, keeps: true})
}

// read has the writer run a function that changes nothing.
func (s *Store) read(ctx context.Context, run func(*writer) error) error {
	return s.submit(&request{ctx: ctx, run: run, reads: true})
}

func (s *Store) submit(r *request) error {
	select {
	case <-s.closing:
		return outbox.ErrClosed
	default:
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.done = make(chan error, 1)
	select {
	case s.requests <- r:
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-s.closing:
		return outbox.ErrClosed
	}
	return <-r.done
}

// run serves requests until the store is closed.
func (s *Store) run() {
	defer close(s.closed)
	for {
		select {
		case <-s.closing:
			s.closeErr = s.wrap(s.writer.close())
			return
		case first := <-s.requests:
			s.serve(s.gather(first))
		}
	}
}

// gather collects the waiting requests.
func (s *Store) gather(first *request) []*request {
	group := []*request{first}
	yielded := false
	for len(group) < maxGroup {
		select {
		case r := <-s.requests:
			group = append(group, r)
			continue
		default:
		}
		if yielded {
			break
		}
		// Callers that just got their results may call again: yield to them, so that
		// they need not wait for the next flush.
		runtime.Gosched()
		yielded = true
	}
	return group
}

// serve runs a group of requests: first all that only read, then all changes in one
// transaction. If that fails, each change is tried alone, because one of them may be
// the reason.
func (s *Store) serve(group []*request) {
	w := s.writer
	var writes []*request
	for _, r := range group {
		switch {
		case !r.reads:
			writes = append(writes, r)
		case r.ctx.Err() != nil:
			r.done <- r.ctx.Err()
		default:
			r.done <- s.wrap(r.run(w))
		}
	}
	if len(writes) > 1 && w.attempt(writes) != nil {
		for _, r := range writes {
			s.finish(r, w.attempt([]*request{r}))
		}
		return
	}
	var err error
	if len(writes) == 1 {
		err = w.attempt(writes)
	}
	for _, r := range writes {
		s.finish(r, err)
	}
}

// finish passes the outcome of a change to its caller.
func (s *Store) finish(r *request, err error) {
	if err == nil && r.ended == nil && r.keeps {
		err = s.writer.doubt
	}
	if err != nil {
		r.done <- s.wrap(err)
		return
	}
	r.done <- r.ended
}

// attempt runs requests in one transaction. An error means that none of them took
// effect.
func (w *writer) attempt(group []*request) error {
	keeps := false
	return w.transact(func() error {
		for _, r := range group {
			if r.ended = r.ctx.Err(); r.ended != nil {
				continue
			}
			if err := r.run(w); err != nil {
				return err
			}
			keeps = keeps || r.keeps
		}
		w.inspect(true)
		if keeps {
			return w.doubt
		}
		return w.overwritten()
	})
}

// transact runs a function in a transaction, which it rolls back if the function or
// the commit fails. A commit whose flush failed may still be in the WAL; SQLite
// ignores it, and the next commit overwrites it. Only a process that dies in between
// makes it visible again, as an additional message.
//
// Statements do not use a caller's context: interrupting one would undo the work of
// all callers in the group.
func (w *writer) transact(run func() error) error {
	w.inspect(false)
	defer func() {
		w.inspect(true)
		w.secure()
	}()
	if err := w.overwritten(); err != nil {
		return err
	}
	before := w.counts
	err := w.exec("BEGIN IMMEDIATE")
	if err == nil {
		err = run()
	}
	if err == nil {
		err = w.exec("COMMIT")
	}
	if err != nil {
		w.counts = before
		// This fails only if SQLite has already rolled back by itself.
		_ = w.exec("ROLLBACK")
	}
	return err
}

// statement returns a prepared statement, and keeps it.
func (w *writer) statement(query string) (*sql.Stmt, error) {
	if statement, ok := w.statements[query]; ok {
		return statement, nil
	}
	statement, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	w.statements[query] = statement
	return statement, nil
}

// exec runs a statement that returns no rows.
func (w *writer) exec(query string, args ...any) error {
	_, err := w.change(query, args...)
	return err
}

// change runs a statement and returns how many rows it changed.
func (w *writer) change(query string, args ...any) (int, error) {
	statement, err := w.statement(query)
	if err != nil {
		return 0, err
	}
	result, err := statement.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// row runs a query for one row and reports whether there was one.
func (w *writer) row(query string, args []any, into ...any) (bool, error) {
	statement, err := w.statement(query)
	if err != nil {
		return false, err
	}
	err = statement.QueryRowContext(context.Background(), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// rows runs a query and calls a function for each row until it returns false.
func (w *writer) rows(query string, args []any, each func(scan func(into ...any) error) (bool, error)) (err error) {
	statement, err := w.statement(query)
	if err != nil {
		return err
	}
	rows, err := statement.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, rows.Close()) }()
	for rows.Next() {
		if more, err := each(rows.Scan); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// count counts the records of a newly opened file.
func (w *writer) count() error {
	w.counts = counts{}
	for state, query := range map[outbox.State]string{outbox.Pending: countPending, outbox.Dead: countDead} {
		var records int
		var bytes int64
		if _, err := w.row(query, nil, &records, &bytes); err != nil {
			return err
		}
		w.counts.add(state, records, bytes)
	}
	return nil
}

// close closes the statements and the file. The statements come first: they would
// keep the file open, and database/sql does not close those of a single connection.
func (w *writer) close() error {
	var errs []error
	for _, statement := range w.statements {
		errs = append(errs, statement.Close())
	}
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(append(errs, w.db.Close())...)
}
