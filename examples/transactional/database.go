package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// createOrders is the app's own table.
const createOrders = `CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, item TEXT NOT NULL)`

// openDatabase opens PostgreSQL, or SQLite if no URL is given.
func openDatabase(ctx context.Context, url string) (*database, error) {
	open := openSQLite
	if url != "" {
		open = func() (*database, error) { return openPostgres(url) }
	}
	db, err := open()
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, createOrders); err != nil {
		return nil, errors.Join(err, db.close())
	}
	row := db.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM orders")
	if err := row.Scan(&db.nextOrder); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

func openPostgres(url string) (*database, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the database is invalid") // without the URL, which may contain a password
	}
	pool := stdlib.OpenDB(*config)
	return &database{
		DB: pool, dialect: sqlstore.Postgres, close: pool.Close,
		insertOrder:  "INSERT INTO orders (number, item) VALUES ($1, $2)",
		selectOrders: "SELECT number FROM orders WHERE number >= $1",
	}, nil
}

func openSQLite() (*database, error) {
	directory, err := os.MkdirTemp("", "postoffice-transactional-")
	if err != nil {
		return nil, err
	}
	// Transactions take the lock when they begin, and wait for it, so that none
	// fails because another has changed the file.
	options := "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	pool, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(directory, "shop.db"))+options)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	return &database{
		DB: pool, dialect: sqlstore.SQLite,
		close:        func() error { return errors.Join(pool.Close(), os.RemoveAll(directory)) },
		insertOrder:  "INSERT INTO orders (number, item) VALUES (?, ?)",
		selectOrders: "SELECT number FROM orders WHERE number >= ?",
	}, nil
}
