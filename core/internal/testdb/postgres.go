package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

type postgres struct{}

func (postgres) name() string { return "PostgreSQL" }
func (postgres) user() string { return "postgres" }

func (postgres) find() (programs, error) {
	// Debian installs the programs of each version in a directory that is not on the
	// path.
	const debian = "/usr/lib/postgresql/*/bin"
	initialise, err := program("initdb", debian)
	if err != nil {
		return programs{}, err
	}
	serve, err := program("postgres", filepath.Dir(initialise))
	return programs{initialise: initialise, serve: serve}, err
}

func (postgres) initialise(data string) []string {
	return []string{
		"--pgdata=" + data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync",
	}
}

func (e postgres) serve(data string, port int) []string {
	arguments := []string{"-D", data}
	for _, setting := range [][2]string{
		{"listen_addresses", "127.0.0.1"},
		{"port", strconv.Itoa(port)},
		{"unix_socket_directories", ""},
		{"max_connections", "200"},
		{"fsync", "on"},
		{"synchronous_commit", "on"},
		{"full_page_writes", "on"},
		{"shared_buffers", "32MB"},
		{"max_wal_size", "256MB"},
		// Segments are files in the data directory, so a kill leaves none behind.
		{"dynamic_shared_memory_type", "mmap"},
	} {
		arguments = append(arguments, e.setting(setting[0], setting[1]))
	}
	return arguments
}

func (postgres) setting(name, value string) string { return "--" + name + "=" + value }

func (postgres) dsn(port int, database string) string {
	if database == "" {
		database = "postgres"
	}
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     fmt.Sprintf("127.0.0.1:%d", port),
		Path:     database,
		RawQuery: "sslmode=disable",
	}
	return dsn.String()
}

func (postgres) dataDirectory(ctx context.Context, db *sql.DB) (string, error) {
	var directory string
	err := db.QueryRowContext(ctx, "SHOW data_directory").Scan(&directory)
	return directory, err
}

func (postgres) drop(ctx context.Context, db *sql.DB, database string) error {
	_, err := db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
	return err
}

// release removes the segment of System V shared memory by which PostgreSQL detects
// another server on its data. Otherwise it stays until a server starts on these data
// again.
func (postgres) release(ctx context.Context, data string) {
	file, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return
	}
	// The seventh line has the segment's key and ID.
	lines := strings.Split(string(file), "\n")
	if len(lines) < 7 {
		return
	}
	if ids := strings.Fields(lines[6]); len(ids) == 2 {
		// A segment of 56 bytes that stays does no harm.
		_ = exec.CommandContext(ctx, "ipcrm", "--shmem-id", ids[1]).Run()
	}
}

// clockLibrary returns the variant for programs without threads.
func (postgres) clockLibrary() string { return "libfaketime.so.1" }

func (postgres) signals() signals {
	// A "fast" and an "immediate" shutdown. After SIGKILL, child processes would
	// notice later, and shared memory would stay.
	return signals{orderly: syscall.SIGINT, discard: syscall.SIGQUIT}
}
