package testdb

import (
	"database/sql"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "github.com/lib/pq" // the driver "postgres"
)

// Open opens a database by the result of [Server.Create]. It is for a child process
// of a test, which has nothing but that string: Open needs no server and no
// testing.TB. Options may follow the string of a MariaDB database, as in
// dsn+"?parseTime=true". The driver is lib/pq for PostgreSQL; that of MariaDB logs
// nothing.
func Open(dsn string) (*sql.DB, error) {
	if strings.HasPrefix(dsn, "postgres://") {
		return sql.Open("postgres", dsn)
	}
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
