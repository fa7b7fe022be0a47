package testdb

import (
	"os"
	"path/filepath"
	"time"
)

// directoryPrefix is the prefix of the directories' names.
const directoryPrefix = "postoffice-testdb-"

// directory is the temporary directory of a server. A lock on it shows other
// processes that it is in use.
type directory struct {
	path  string
	owner *account // nil for the current user
	lock  *os.File
}

// newDirectory creates a directory, after removing directories of killed test
// processes. If the tests run as root, it belongs to the given user, or else to
// nobody.
func newDirectory(userName string) (*directory, error) {
	removeLeftovers()
	owner, err := serverUser(userName)
	if err != nil {
		return nil, err
	}
	// Servers report paths without symbolic links.
	parent, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(parent, directoryPrefix)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, owner: owner}
	if d.lock, err = lockDirectory(path); err != nil {
		return nil, err
	}
	if owner != nil {
		err = os.Chown(path, int(owner.Uid), int(owner.Gid))
	}
	return d, err
}

// data is the data directory of the server.
func (d *directory) data() string { return filepath.Join(d.path, "data") }

func (d *directory) remove() error {
	releaseClock(d.data())
	err := os.RemoveAll(d.path)
	_ = d.lock.Close() // the directory was only read
	return err
}

// removeLeftovers removes the directories of processes that have ended. Directories
// that cannot be removed, for example another user's, are left.
func removeLeftovers() {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), directoryPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		// A new directory may not be locked yet.
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := lockDirectory(path)
		if err != nil {
			continue
		}
		_ = (&directory{path: path, lock: lock}).remove()
	}
}
