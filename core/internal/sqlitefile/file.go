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

// ErrNotRegular means that the path is that of a directory, a device or the
// like.
var ErrNotRegular = errors.New("not a regular file")

// creating serialises the creation of files in this process. A process that
// closes a descriptor of a file loses all its locks on it, so one call must
// not be between creating and closing a new file while another, having found
// it, locks it.
var creating sync.Mutex

// Create creates a file, empty and private to the user, if it is missing. The
// error is [ErrNotRegular] or one of the file system.
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

// Open returns a pool of connections to an existing file, whose path may hold
// any character. It connects to nothing yet. Each pragma, such as
// "busy_timeout(1000)", is set on every connection.
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
