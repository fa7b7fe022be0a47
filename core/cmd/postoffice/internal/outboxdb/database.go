package outboxdb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// maxConnections is how many connections a command opens to a database.
const maxConnections = 4

// openPostgres opens a table of a PostgreSQL database.
func openPostgres(ctx context.Context, address string, options Options) (*Outbox, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// What it says may repeat the URL.
		return nil, exit.Usagef("the outbox's URL is none that PostgreSQL's driver understands: postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=…")
	}
	return openDatabase(ctx, stdlib.OpenDB(*config), sqlstore.Postgres, options)
}

// openMySQL opens a table of a MySQL or MariaDB database. The query of the
// URL holds parameters of the driver, and "socket" for one that is reached by
// the path of its socket.
func openMySQL(ctx context.Context, address *url.URL, options Options) (*Outbox, error) {
	connector, err := mysqlConnector(address)
	if err != nil {
		return nil, err
	}
	return openDatabase(ctx, sql.OpenDB(connector), sqlstore.MySQL, options)
}

func mysqlConnector(address *url.URL) (driver.Connector, error) {
	usage := exit.Usagef("the outbox's URL is none that MySQL's driver understands: mysql://USER:PASSWORD@HOST:3306/DATABASE")
	query := address.Query()
	socket := query.Get("socket")
	query.Del("socket")
	config, err := mysql.ParseDSN("/?" + query.Encode())
	if err != nil {
		return nil, usage
	}
	config.User = address.User.Username()
	config.Passwd, _ = address.User.Password()
	config.DBName = strings.TrimPrefix(address.Path, "/")
	if config.DBName == "" {
		return nil, exit.Usagef("the outbox's URL names no database: mysql://USER:PASSWORD@HOST:3306/DATABASE")
	}
	config.Net, config.Addr = "tcp", net.JoinHostPort(cmp.Or(address.Hostname(), "127.0.0.1"), cmp.Or(address.Port(), "3306"))
	if socket != "" {
		config.Net, config.Addr = "unix", socket
	}
	config.Logger = &mysql.NopLogger{} // errors are returned
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, usage
	}
	return connector, nil
}

// openDatabase opens a table and checks it. The database is closed with the
// outbox.
func openDatabase(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect, options Options) (*Outbox, error) {
	db.SetMaxOpenConns(maxConnections)
	store, err := sqlstore.New(db, dialect, sqlstore.WithTable(cmp.Or(options.Table, sqlstore.DefaultTable)))
	if err != nil {
		return nil, closed(exit.New(exit.Usage, "check --table", err), db)
	}
	if err := store.Check(ctx); err != nil {
		advice := hint
		if errors.Is(err, sqlstore.ErrSchema) {
			advice = "is it the right database? An outbox in a table of another name needs --table NAME"
		}
		return nil, closed(unusable(advice, err), store, db)
	}
	o := &Outbox{Store: store}
	o.close = append(o.close, store, db)
	return o, nil
}
