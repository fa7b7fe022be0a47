package connect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	codes "modernc.org/sqlite/lib"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/internal/sqlitefile"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// inUse is the advice for a file that another process uses.
const inUse = `a running app locks its outbox file: use its outbox page (core/outboxpage), let the app do it (Client.Outbox), or stop it first`

// openFile opens an SQLite file: one of the embedded store, or an app's
// database with a table of sqlstore's in it.
func openFile(ctx context.Context, path string, options OutboxOptions) (*Outbox, error) {
	if path == "" {
		return nil, exit.Usagef("the outbox's name is empty: --outbox names an SQLite file or the URL of a database")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && options.Create && options.Table == "":
		return openEmbedded(ctx, path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, unusable("check the path: the file is created by the app that publishes, or by publish --outbox", fmt.Errorf("there is no file %s", path))
	case err != nil:
		return nil, unusable("check the path and its permissions", err)
	case !info.Mode().IsRegular():
		return nil, unusable("check the path", fmt.Errorf("%s is not a regular file", path))
	}
	shared := options.Table != ""
	if !shared && info.Size() > 0 {
		if shared, err = holdsTable(ctx, path, options.DefaultTable); err != nil {
			return nil, openError(path, err)
		}
	}
	if !shared {
		return openEmbedded(ctx, path)
	}
	db, err := openShared(path)
	if err != nil {
		return nil, openError(path, err)
	}
	return openDatabase(ctx, db, sqlstore.SQLite, options)
}

func openEmbedded(ctx context.Context, path string) (*Outbox, error) {
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, openError(path, err)
	}
	o := &Outbox{Store: store, Embedded: true}
	o.close = append(o.close, store)
	return o, nil
}

// openError adds advice to an error.
func openError(path string, err error) error {
	code := sqlitefile.Code(err)
	switch {
	case code == codes.SQLITE_BUSY, code == codes.SQLITE_LOCKED:
		return exit.New(exit.InUse, inUse, fmt.Errorf("the outbox %s is in use by another process: %w", path, err))
	case errors.Is(err, sqlite.ErrInUse):
		return exit.New(exit.InUse, inUse, fmt.Errorf("the outbox cannot be used now: %w", err))
	case errors.Is(err, sqlite.ErrForeign):
		return unusable("an outbox in a table of an app's database needs --table NAME, unless the table has the default name", err)
	case errors.Is(err, sqlite.ErrNewer):
		return unusable("update this program", err)
	case errors.Is(err, sqlite.ErrCorrupt):
		return unusable("restore the file from a backup, or save what is readable with the program sqlite3 (.recover)", err)
	default:
		return unusable("check the path, its permissions and the disk", err)
	}
}

// openShared opens an app's database. It waits up to a second for locks.
func openShared(path string) (*sql.DB, error) { return sqlitefile.Open(path, "busy_timeout(1000)") }

// embeddedID is the application id in the header of the embedded store's
// files: "POOB".
const embeddedID = 0x504f4f42

// holdsTable reports whether a file is an app's database with an outbox table of the
// default name, and not a file of the embedded store. It leaves files that are not
// databases, or are damaged, to the store, which reports them.
func holdsTable(ctx context.Context, path, table string) (bool, error) {
	db, err := openShared(path)
	if err != nil {
		return false, err
	}
	var application, tables int
	err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&application)
	if err == nil && application != embeddedID {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", table).Scan(&tables)
	}
	if err = errors.Join(err, db.Close()); err == nil {
		return tables > 0, nil
	}
	switch sqlitefile.Code(err) {
	case codes.SQLITE_NOTADB, codes.SQLITE_CORRUPT:
		return false, nil
	default:
		return false, err
	}
}
