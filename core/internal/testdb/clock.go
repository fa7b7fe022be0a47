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

// WithClock gives the server a separate clock, which [Server.SetClock] sets. It
// needs libfaketime; if that is not installed, the test is skipped, or fails with
// POSTOFFICE_CI=1.
func WithClock() Option {
	return func(o *options) { o.clock = true }
}

// SetClock sets the clock of a server that was started with [WithClock] to the
// machine's time plus an offset. The server sees it at once, like a step of the
// machine's clock: only the time of day changes, not the clock by which it measures
// timeouts. SetClock may be called while the server is stopped.
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
	// The server may read the file at any time, so it is replaced atomically.
	temporary := s.clockFile() + ".new"
	if err := os.WriteFile(temporary, fmt.Appendf(nil, "%+f\n", offset.Seconds()), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, s.clockFile())
}

// clockVariables returns the environment variables that preload libfaketime.
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

// releaseClock removes the shared memory of libfaketime after a server was killed. A
// later process with the same ID would fail because of it.
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
			_ = os.Remove(fmt.Sprintf("/dev/shm/faketime_shm_%d", pid))     // usually missing
			_ = os.Remove(fmt.Sprintf("/dev/shm/sem.faketime_sem_%d", pid)) // usually missing
		}
	}
}
