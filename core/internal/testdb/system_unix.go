//go:build unix

package testdb

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is a user who runs a server.
type account = syscall.Credential

// serverUser returns the user of a server: nil for the current user, or if that is
// root, the named user or else nobody.
func serverUser(name string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		var otherErr error
		if found, otherErr = user.Lookup("nobody"); otherErr != nil {
			return nil, errors.Join(err, otherErr)
		}
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", found.Username, err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", found.Username, err)
	}
	return &account{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// lockDirectory locks a directory until the file is closed. It fails if another
// process has locked it.
func lockDirectory(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// pause stops a process until it is continued or killed. It may have ended already.
func pause(pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) }

// proceed continues a stopped process.
func proceed(pid int) { _ = syscall.Kill(pid, syscall.SIGCONT) }

// kill kills a process. It may have ended already.
func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
