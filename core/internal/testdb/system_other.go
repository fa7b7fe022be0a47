//go:build !unix

package testdb

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// account is a user who runs a server.
type account struct{ Uid, Gid uint32 }

// serverUser says that this package cannot run servers here.
func serverUser(string) (*account, error) {
	return nil, &missingError{"database servers for tests need Unix, this is " + runtime.GOOS}
}

// No server is started, so the rest is not called.

func lockDirectory(string) (*os.File, error)                   { return nil, errors.ErrUnsupported }
func processTable() (map[int]entry, error)                     { return nil, errors.ErrUnsupported }
func attributes(*account, syscall.Signal) *syscall.SysProcAttr { return nil }
func pause(int)                                                {}
func proceed(int)                                              {}
func kill(int)                                                 {}
