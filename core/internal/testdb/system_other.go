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

// serverUser returns an error: this package cannot run servers on this system.
func serverUser(string) (*account, error) {
	return nil, &missingError{"database servers for tests need Unix, this is " + runtime.GOOS}
}

// No server is ever started, so the rest is never called.

func lockDirectory(string) (*os.File, error)                   { return nil, errors.ErrUnsupported }
func processTable() (map[int]entry, error)                     { return nil, errors.ErrUnsupported }
func attributes(*account, syscall.Signal) *syscall.SysProcAttr { return nil }
func pause(int)                                                {}
func proceed(int)                                              {}
func kill(int)                                                 {}
