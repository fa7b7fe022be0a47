package sqlite

import (
	"errors"
	"fmt"
	"io/fs"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Errors of this package. Match them with [errors.Is].
var (
	// ErrInUse means that another store, in this process or another, has
	// the file open.
	ErrInUse = errors.New("file is in use by another store or process")
	// ErrForeign means that the file is not an outbox: not an SQLite database, or
	// the database of another application.
	ErrForeign = errors.New("file is not an outbox database")
	// ErrNewer means that a newer version of this package wrote the file.
	ErrNewer = errors.New("file was written by a newer version")
	// ErrCorrupt means that the file is damaged.
	ErrCorrupt = errors.New("file is damaged")
	// ErrLost means that the database or NAME-wal was removed, replaced or truncated
	// while the store was open. The store accepts no more records until it is opened
	// again; see [Store.Failed].
	ErrLost = errors.New("file is no longer the one that was opened")
)

// explain adds the meaning of an SQLite error.
func explain(err error) error {
	var failure *driver.Error
	if !errors.As(err, &failure) {
		return err
	}
	switch code := failure.Code(); code & 0xff {
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case codes.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case codes.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: no space left on the disk: %w", outbox.ErrFull, err)
	case codes.SQLITE_READONLY, codes.SQLITE_PERM:
		return fmt.Errorf("%w to write the file or its directory: %w", fs.ErrPermission, err)
	case codes.SQLITE_CANTOPEN:
		return fmt.Errorf("cannot open the file or create one beside it; check the permissions: %w", err)
	case codes.SQLITE_IOERR:
		return fmt.Errorf("cannot read or write the file: %w", err)
	default:
		return err
	}
}

// wrap adds the name of the file to an error.
func (s *Store) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("outbox/sqlite: %s: %w", s.path, explain(err))
}
