package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

type mariadb struct{}

func (mariadb) name() string { return "MariaDB" }
func (mariadb) user() string { return "mysql" }

func (mariadb) find() (programs, error) {
	initialise, err := program("mariadb-install-db", "/usr/bin", "/usr/local/bin")
	if err != nil {
		return programs{}, err
	}
	// An ordinary user's path does not contain sbin.
	serve, err := program("mariadbd", "/usr/sbin", "/usr/local/sbin")
	return programs{initialise: initialise, serve: serve}, err
}

// redoLog is small, because it is read on start and written when a directory is
// created.
const redoLog = "--innodb-log-file-size=16M"

func (mariadb) initialise(data string) []string {
	return []string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + data, "--auth-root-authentication-method=normal", "--skip-test-db", redoLog,
	}
}

func (mariadb) serve(data string, port int) []string {
	return []string{
		"--no-defaults",
		"--datadir=" + data,
		// The machine's temporary directory is shared with other servers, and their
		// temporary tables have the same names.
		"--tmpdir=" + data,
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(port),
		// The path of a socket must be short, so it is relative to the data.
		"--socket=socket",
		"--pid-file=server.pid",
		"--skip-name-resolve",
		"--max-connections=200",
		"--innodb-flush-log-at-trx-commit=1",
		"--innodb-doublewrite=ON",
		"--innodb-buffer-pool-size=32M",
		redoLog,
		"--key-buffer-size=1M",
		"--aria-pagecache-buffer-size=8M",
		"--character-set-server=utf8mb4",
		"--collation-server=utf8mb4_general_ci",
	}
}

func (mariadb) setting(name, value string) string { return "--" + name + "=" + value }

func (mariadb) dsn(port int, database string) string {
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", port, database)
}

func (mariadb) dataDirectory(ctx context.Context, db *sql.DB) (string, error) {
	var directory string
	err := db.QueryRowContext(ctx, "SELECT @@datadir").Scan(&directory)
	return directory, err
}

// drop ends the connections to the database first: one with an open transaction
// would block the statement.
func (m mariadb) drop(ctx context.Context, db *sql.DB, database string) error {
	connections, err := m.connections(ctx, db, database)
	if err != nil {
		return err
	}
	for _, id := range connections {
		_, err := db.ExecContext(ctx, "KILL CONNECTION "+strconv.FormatInt(id, 10))
		var failed *mysql.MySQLError
		const noSuchThread = 1094
		if err != nil && (!errors.As(err, &failed) || failed.Number != noSuchThread) {
			return err
		}
	}
	_, err = db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+database)
	return err
}

func (mariadb) connections(ctx context.Context, db *sql.DB, database string) (ids []int64, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE db = ?", database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func (mariadb) release(context.Context, string) {}

// clockLibrary returns the variant for programs with threads.
func (mariadb) clockLibrary() string { return "libfaketimeMT.so.1" }

func (mariadb) signals() signals {
	return signals{orderly: syscall.SIGTERM, discard: syscall.SIGKILL}
}
