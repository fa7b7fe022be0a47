package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	codes "modernc.org/sqlite/lib"

	"github.com/postoffice-go/postoffice/core/internal/sqlitefile"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// Reasons for which a file cannot be used.
var (
	// ErrFileInUse means that another server uses the file.
	ErrFileInUse = errors.New("the file is in use by another development server")
	// ErrFileForeign means that the file is not a file of a development server.
	ErrFileForeign = errors.New("the file does not belong to a development server")
	// ErrFileNewer means that a newer version wrote the file.
	ErrFileNewer = errors.New("the file was written by a newer version")
	// ErrFileDamaged means that the file is damaged and cannot be read.
	ErrFileDamaged = errors.New("the file is damaged")
)

const (
	// applicationID is in the header of the file: "PODv".
	applicationID = 0x504f4476
	fileVersion   = 1
)

// file keeps records in an SQLite database.
type file struct {
	path string
	db   *sql.DB
}

// openFile opens and locks the file. It creates a missing file.
func openFile(ctx context.Context, path string) (*file, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", path, err)
	}
	f := &file{path: absolute}
	err = sqlitefile.Create(absolute)
	if errors.Is(err, sqlitefile.ErrNotRegular) {
		err = ErrFileForeign
	}
	if err == nil {
		f.db, err = sqlitefile.Open(absolute)
	}
	if err != nil {
		return nil, f.wrap(err)
	}
	f.db.SetMaxOpenConns(1)
	if err := f.prepare(ctx); err != nil {
		return nil, errors.Join(f.wrap(err), f.db.Close())
	}
	return f, nil
}

// prepare locks the file and creates or checks its schema.
func (f *file) prepare(ctx context.Context) error {
	for _, pragma := range []string{"locking_mode = EXCLUSIVE", "busy_timeout = 0", "journal_mode = WAL", "synchronous = NORMAL"} {
		if _, err := f.db.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	var id, version, tables int
	for query, value := range map[string]*int{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := f.db.QueryRowContext(ctx, query).Scan(value); err != nil {
			return err
		}
	}
	switch {
	case id == 0 && tables == 0:
	case id != applicationID:
		return ErrFileForeign
	case version > fileVersion:
		return ErrFileNewer
	}
	// The transaction is also necessary if the schema exists, because it takes the lock.
	_, err := f.db.ExecContext(ctx, fmt.Sprintf(`BEGIN IMMEDIATE;
		CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, number INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (kind, number)) STRICT, WITHOUT ROWID;
		PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT`, applicationID, fileVersion))
	return err
}

// load returns the records.
func (f *file) load(ctx context.Context) (_ []postofficetest.Record, err error) {
	rows, err := f.db.QueryContext(ctx, "SELECT kind, number, data FROM records")
	if err != nil {
		return nil, f.wrap(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var records []postofficetest.Record
	for rows.Next() {
		var record postofficetest.Record
		if err := rows.Scan(&record.Kind, &record.Number, &record.Data); err != nil {
			return nil, f.wrap(err)
		}
		records = append(records, record)
	}
	return records, f.wrap(rows.Err())
}

// save writes changes in one transaction.
func (f *file) save(ctx context.Context, changes postofficetest.Changes) (err error) {
	tx, err := f.db.BeginTx(ctx, nil)
	if err != nil {
		return f.wrap(err)
	}
	defer func() {
		if err != nil {
			err = f.wrap(errors.Join(err, tx.Rollback()))
		}
	}()
	put, err := tx.PrepareContext(ctx, "INSERT INTO records (kind, number, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data")
	if err != nil {
		return err
	}
	remove, err := tx.PrepareContext(ctx, "DELETE FROM records WHERE kind = ? AND number = ?")
	if err != nil {
		return err
	}
	if changes.All {
		if _, err = tx.ExecContext(ctx, "DELETE FROM records"); err != nil {
			return err
		}
	}
	for _, record := range changes.Records {
		if _, err = put.ExecContext(ctx, string(record.Kind), record.Number, string(record.Data)); err != nil {
			return err
		}
	}
	for _, key := range changes.Forgotten {
		if _, err = remove.ExecContext(ctx, string(key.Kind), key.Number); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (f *file) close() error { return f.wrap(f.db.Close()) }

// wrap adds the path and the reason to an error.
func (f *file) wrap(err error) error {
	if err == nil {
		return nil
	}
	switch sqlitefile.Code(err) {
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		err = fmt.Errorf("%w: %w", ErrFileInUse, err)
	case codes.SQLITE_NOTADB:
		err = fmt.Errorf("%w: %w", ErrFileForeign, err)
	case codes.SQLITE_CORRUPT:
		err = fmt.Errorf("%w: %w", ErrFileDamaged, err)
	case codes.SQLITE_FULL:
		err = fmt.Errorf("no space left on the disk: %w", err)
	case codes.SQLITE_READONLY, codes.SQLITE_PERM, codes.SQLITE_CANTOPEN:
		err = fmt.Errorf("the file or its directory cannot be written: %w", err)
	}
	return fmt.Errorf("file %s: %w", f.path, err)
}
