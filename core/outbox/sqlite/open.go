package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqlitefile"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Option sets a bound of a store.
type Option func(*Store) error

// WithMaxRecords bounds the number of records. An Insert beyond the bound fails with
// [outbox.ErrFull]. Zero, the default, means no bound; a negative number is an
// error.
func WithMaxRecords(n int) Option {
	return func(s *Store) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxRecords of %d, below zero", outbox.ErrInvalid, n)
		}
		s.limit.Records = n
		return nil
	}
}

// WithMaxBytes bounds the sum of the records' sizes in bytes. An Insert beyond the
// bound fails with [outbox.ErrFull]. Zero, the default, means no bound; a negative
// number is an error. The file is larger than that sum by about 600 bytes for each
// record, for the other fields and the indexes.
func WithMaxBytes(n int64) Option {
	return func(s *Store) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxBytes of %d, below zero", outbox.ErrInvalid, n)
		}
		s.limit.Bytes = n
		return nil
	}
}

// Open opens the store in a file, which it creates if it is missing. The directory
// must exist. Close the store after use.
//
// The error matches [ErrInUse], [ErrForeign], [ErrNewer], [ErrCorrupt],
// [io/fs.ErrNotExist], [io/fs.ErrPermission] or, for invalid arguments,
// [outbox.ErrInvalid]: see "Errors" in the package documentation.
func Open(ctx context.Context, path string, options ...Option) (*Store, error) {
	s, err := open(ctx, path, options)
	if err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// open creates a store that does not serve requests yet.
func open(ctx context.Context, path string, options []Option) (*Store, error) {
	s := &Store{
		clock:    newClock(),
		requests: make(chan *request),
		closing:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
	for i, option := range options {
		if option == nil {
			return nil, fmt.Errorf("%w: options[%d] is nil", outbox.ErrInvalid, i)
		}
		if err := option(s); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return nil, fmt.Errorf("%w: the path is empty", outbox.ErrInvalid)
	}
	if strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("%w: the path must be the name of a file, not %q", outbox.ErrInvalid, "file:… or :memory:")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("outbox/sqlite: %w", err)
	}
	s.path = absolute
	err = sqlitefile.Create(s.path)
	if errors.Is(err, sqlitefile.ErrNotRegular) {
		err = fmt.Errorf("%w: %s is not a regular file", ErrForeign, s.path)
	}
	if err != nil {
		return nil, fmt.Errorf("outbox/sqlite: %w", err)
	}
	// Two processes that open a file at the same moment can each keep the other out;
	// a moment later one of them succeeds.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		err = s.connect(ctx)
		if !errors.Is(explain(err), ErrInUse) || attempt == attempts {
			break
		}
		select {
		case <-time.After(rand.N(10 * time.Millisecond)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.wrap(err)
	}
	return s, nil
}

// writable checks that the file was opened for writing: without permission, SQLite
// falls back to reading, and its error about the lock would be obscure.
func writable(conn *sql.Conn) error {
	return conn.Raw(func(raw any) error {
		readOnly, err := raw.(interface {
			IsReadOnly(schema string) (bool, error)
		}).IsReadOnly("main")
		if err == nil && readOnly {
			err = fmt.Errorf("%w to write the file", fs.ErrPermission)
		}
		return err
	})
}

// connect opens the file, locks it and upgrades its schema.
func (s *Store) connect(ctx context.Context) (err error) {
	db, err := sqlitefile.Open(s.path)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	w := &writer{store: s, db: db, statements: make(map[string]*sql.Stmt)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.conn, err = db.Conn(ctx); err != nil {
		return err
	}
	if err = writable(w.conn); err != nil {
		return err
	}
	// The locking mode comes first: with it, the first access to a WAL takes the
	// lock and needs no shared memory.
	for _, pragma := range []string{"locking_mode = EXCLUSIVE", "busy_timeout = 0"} {
		if _, err = w.conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	if err = migrate(ctx, w.conn); err != nil {
		return err
	}
	var mode string
	if err = w.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file cannot be put into WAL mode; its journal mode is %q", mode)
	}
	for _, pragma := range []string{"synchronous = FULL", fmt.Sprint("journal_size_limit = ", journalLimit)} {
		if _, err = w.conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	// A transaction without changes still needs a writable file.
	if err = w.transact(w.count); err != nil {
		return err
	}
	if w.files, err = watch(ctx, w.conn, s.path); err != nil {
		return err
	}
	s.writer = w
	return nil
}
