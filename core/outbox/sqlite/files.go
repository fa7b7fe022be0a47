package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// journalLimit is the size in bytes to which SQLite truncates NAME-wal when it
// restarts it.
const journalLimit = 64 << 20

// watched is the state of a file after the last transaction.
type watched struct {
	path string
	info os.FileInfo
	// shrinks is the size to which SQLite may truncate the file; negative if it must
	// not.
	shrinks int64
}

// loss is a loss of the files of an open store.
type loss struct {
	err error
	// overwritten means that the content is no longer what the store wrote, so that
	// further writes would mix both.
	overwritten bool
}

// watch returns the files of a connection: the database and its write-ahead log,
// which is next to the database after SQLite has resolved links.
func watch(ctx context.Context, conn *sql.Conn, path string) ([]*watched, error) {
	var resolved string
	if err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&resolved); err != nil {
		return nil, err
	}
	files := []*watched{{path: path, shrinks: -1}, {path: resolved + "-wal", shrinks: journalLimit}}
	for _, file := range files {
		info, err := os.Stat(file.path)
		if err != nil {
			return nil, err
		}
		file.info = info
	}
	return files, nil
}

// check compares a file with its last state. During a transaction SQLite may have
// made it grow. A loss is permanent; another error concerns this check only.
func (f *watched) check(transacting bool) (*loss, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		lost := f.lost("was removed", false)
		lost.err = fmt.Errorf("%w: %w", lost.err, fs.ErrNotExist)
		return lost, nil
	case err != nil:
		return nil, err
	case !os.SameFile(info, f.info):
		return f.lost("was replaced", false), nil
	}
	least := f.info.Size()
	if transacting && f.shrinks >= 0 {
		least = min(least, f.shrinks)
	}
	if size := info.Size(); size < least || !transacting && size > least {
		return f.lost(fmt.Sprintf("was overwritten or truncated: it had %d bytes and has %d", f.info.Size(), size), true), nil
	}
	f.info = info
	return nil, nil
}

// lost describes what happened to a file, and what to do.
func (f *watched) lost(how string, overwritten bool) *loss {
	advice := "no more records are stored; let the process deliver the records that it still holds, and restart it"
	if overwritten {
		advice = "nothing more is written; restart the process"
	}
	return &loss{fmt.Errorf("%w: %s %s; %s", ErrLost, f.path, how, advice), overwritten}
}

// inspect checks whether the files are still those that the store writes: before
// each transaction, before its commit and after it. It sets w.doubt to the reason
// why written data might be lost.
func (w *writer) inspect(transacting bool) {
	s := w.store
	if lost := s.lost.Load(); lost != nil {
		w.doubt = lost.err
		return
	}
	w.doubt = nil
	for i, file := range w.files {
		lost, err := file.check(transacting)
		if err != nil {
			w.doubt = err
			return
		}
		if lost == nil {
			continue
		}
		w.doubt = lost.err
		s.lost.Store(lost)
		w.insecure = i > 0 && !lost.overwritten
		return
	}
}

// overwritten returns the loss after which the store writes nothing more.
func (w *writer) overwritten() error {
	if lost := w.store.lost.Load(); lost != nil && lost.overwritten {
		return lost.err
	}
	return nil
}

// secure copies the changes of a removed write-ahead log to the database. Later
// changes stay in the log until the store is closed: if the process died in between,
// nothing could complete them.
func (w *writer) secure() {
	if !w.insecure {
		return
	}
	w.insecure = false
	for _, text := range []string{"wal_autocheckpoint = 0", "wal_checkpoint"} {
		// If this fails, closing the store tries again.
		_, _ = w.conn.ExecContext(context.Background(), "PRAGMA "+text)
	}
}

// Failed returns [ErrLost] with what happened, and what to do, after files of the
// open store were removed, replaced or truncated; otherwise nil. The store notices
// at its next change: a client's relay makes one at least every two seconds while
// the circuit breaker is closed.
func (s *Store) Failed() error {
	if lost := s.lost.Load(); lost != nil {
		return s.wrap(lost.err)
	}
	return nil
}
