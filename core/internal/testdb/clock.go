package testdb

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// WithClock gives the server a clock of its own, which [Server.SetClock] moves.
// It needs libfaketime; where that is not installed the test is skipped, with
// POSTOFFICE_CI=1 it fails.
func WithClock() Option {
	return func(o *options) { o.clock = true }
}

// SetClock moves the clock of a server that was started with [WithClock], so
// that from now on it goes this much before that of the machine, or behind it if
// negative. The server sees it at once, as it would see a step of the machine's
// clock: only the time of day moves, not the clock by which it measures
// timeouts. It may be called while the server is stopped.
func (s *Server) SetClock(tb testing.TB, offset time.Duration) {
	tb.Helper()
	if !s.options.clock {
		tb.Fatal("testdb: the server has the clock of the machine; start it with WithClock")
	}
	if err := s.setClock(offset); err != nil {
		tb.Fatalf("testdb: setting the clock: %v", err)
	}
}

func (s *Server) clockFile() string { return filepath.Join(s.directory.path, "clock") }

func (s *Server) setClock(offset time.Duration) error {
	// The server may read the file at any time, so it is replaced as a whole.
	temporary := s.clockFile() + ".new"
	if err := os.WriteFile(temporary, fmt.Appendf(nil, "%+f\n", offset.Seconds()), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, s.clockFile())
}

// clockVariables returns the environment variables that put libfaketime before
// the C library.
func (s *Server) clockVariables() ([]string, error) {
	library := s.engine.clockLibrary()
	for _, pattern := range []string{"/usr/lib/*/faketime", "/usr/lib*/faketime", "/usr/local/lib/faketime"} {
		found, err := filepath.Glob(filepath.Join(pattern, library))
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return []string{
				"LD_PRELOAD=" + found[0],
				"FAKETIME_TIMESTAMP_FILE=" + s.clockFile(),
				"FAKETIME_NO_CACHE=1",
				"FAKETIME_DONT_FAKE_MONOTONIC=1",
			}, nil
		}
	}
	return nil, &missingError{fmt.Sprintf("needs libfaketime: %s is not installed", library)}
}

// releaseClock removes the shared memory that libfaketime leaves behind when a
// server is killed. A later process with the same ID would stumble over it.
func releaseClock(data string) {
	files, err := filepath.Glob(filepath.Join(data, "*.pid"))
	if err != nil {
		return
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(text), "\n")
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			_ = os.Remove(fmt.Sprintf("/dev/shm/faketime_shm_%d", pid))     // mostly there is none
			_ = os.Remove(fmt.Sprintf("/dev/shm/sem.faketime_sem_%d", pid)) // mostly there is none
		}
	}
}
