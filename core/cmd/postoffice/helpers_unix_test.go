//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// fileSize is the size of a file; zero if there is none.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// hasEnded tells whether a process of ours has ended, and waits for its
// parent to take note.
func hasEnded(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, rest, _ := strings.Cut(string(status), ") ")
	return strings.HasPrefix(rest, "Z")
}
