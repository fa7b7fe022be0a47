package connect

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

// openPostgres opens a table of a PostgreSQL database. It prepares no statements,
// unless the URL asks for it: a pooler may give each transaction another connection.
func openPostgres(ctx context.Context, address *url.URL, options OutboxOptions) (*Outbox, error) {
	config, err := pgx.ParseConfig(address.String())
	if err != nil {
		// What it says may repeat the URL.
		return nil, exit.Usagef("PostgreSQL's driver cannot parse the outbox's URL; it must look like postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=…")
	}
	if !address.Query().Has(execMode) {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return openDatabase(ctx, stdlib.OpenDB(*config), sqlstore.Postgres, options)
}

// execMode is the parameter of pgx that says how it runs statements.
const execMode = "default_query_exec_mode"

// openMySQL opens a table of a MySQL or MariaDB database. The query of the URL has
// parameters of the driver, and "socket" for the path of a Unix socket.
func openMySQL(ctx context.Context, address *url.URL, options OutboxOptions) (*Outbox, error) {
	connector, err := mysqlConnector(address)
	if err != nil {
		return nil, err
	}
	return openDatabase(ctx, sql.OpenDB(connector), sqlstore.MySQL, options)
}

func mysqlConnector(address *url.URL) (driver.Connector, error) {
	usage := exit.Usagef("MySQL's driver cannot parse the outbox's URL; it must look like mysql://USER:PASSWORD@HOST:3306/DATABASE")
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
func openDatabase(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect, options OutboxOptions) (*Outbox, error) {
	db.SetMaxOpenConns(maxConnections)
	store, err := sqlstore.New(db, dialect,
		sqlstore.WithTable(cmp.Or(options.Table, options.DefaultTable)), sqlstore.WithPreparedInserts(false))
	if err != nil {
		return nil, closed(exit.New(exit.Usage, "check --table", err), db)
	}
	if err := store.Check(ctx); err != nil {
		return nil, closed(unusable(advice(err), err), store, db)
	}
	o := &Outbox{Store: store}
	o.close = append(o.close, store, db)
	return o, nil
}

// advice returns what to do about a database that cannot be used.
func advice(err error) string {
	if errors.Is(err, sqlstore.ErrSchema) {
		return "is it the right database? An outbox in a table of another name needs --table NAME"
	}
	if errors.Is(err, sqlstore.ErrSession) {
		return "change the setting that the error names, in the query of the URL, for the user or at the server"
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		switch state.SQLState() {
		case "42P05", "26000": // a statement is prepared already, or unknown
			return "a pooler, such as PgBouncer, gives each transaction another connection: leave " + execMode +
				" out of the URL, or connect to the server itself"
		case "08P01": // a protocol violation
			return "is a pooler, such as PgBouncer, between? It may refuse parameters of the URL (its ignore_startup_parameters): " +
				"leave them out, or connect to the server itself"
		}
	}
	return hint
}
