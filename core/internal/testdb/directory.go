package testdb

import (
	"os"
	"path/filepath"
	"time"
)

// directoryPrefix begins the names of the directories of this package.
const directoryPrefix = "postoffice-testdb-"

// directory is the temporary directory of a server. An open lock on it tells
// other processes that it is in use.
type directory struct {
	path  string
	owner *account // nil for the own user
	lock  *os.File
}

// newDirectory makes a directory, after removing those that killed test
// processes have left. If the tests run as root it belongs to the user of that
// name, or else to nobody.
func newDirectory(userName string) (*directory, error) {
	removeLeftovers()
	owner, err := serverUser(userName)
	if err != nil {
		return nil, err
	}
	// Servers tell their paths without links.
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
	_ = d.lock.Close() // of a directory that was only read
	return err
}

// removeLeftovers removes the directories whose process has ended. What cannot
// be removed, such as that of another user, is left.
func removeLeftovers() {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), directoryPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		// A new one may not have its lock yet.
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
