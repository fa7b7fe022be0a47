package sqlitefile

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ErrNotRegular means that the path is a directory, a device or another special
// file.
var ErrNotRegular = errors.New("not a regular file")

// creating serialises the creation of files in this process. A process that closes a
// descriptor of a file loses all its locks on it: one call must not close a newly
// created file after another call has found and locked it.
var creating sync.Mutex

// Create creates an empty file, readable by the user only, if it is missing. The
// error is [ErrNotRegular] or an error of the file system.
func Create(path string) error {
	creating.Lock()
	defer creating.Unlock()
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return ErrNotRegular
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the directory of the file is missing: %w", err)
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// Open returns a pool of connections to an existing file, whose path may contain any
// character. It does not connect yet. Each pragma, such as "busy_timeout(1000)", is
// set on every connection.
func Open(path string, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := filepath.ToSlash(absolute)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // a drive letter
	}
	query := url.Values{"mode": {"rw"}, "_pragma": pragmas}
	source := url.URL{Scheme: "file", Path: name, RawQuery: query.Encode()}
	return sql.Open("sqlite", source.String())
}
