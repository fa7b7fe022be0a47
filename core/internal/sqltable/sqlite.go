package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// SQLiteSettings are settings of an SQLite database that decide whether several
// connections can use it at the same time.
type SQLiteSettings struct {
	// BusyTimeout is how many milliseconds a statement waits for other connections
	// before it fails with "database is locked".
	BusyTimeout int
	// JournalMode is "wal", "delete" and so on, in lower case.
	JournalMode string
	// InMemory means that the database has no file. Unless its cache is shared, each
	// connection then has a database of its own.
	InMemory bool
}

// SQLiteSettings reads the settings of the table's database. It reads the busy
// timeout of two connections of the pool, if it gets two, and returns the shorter
// one: a PRAGMA that the app runs sets it for one connection.
func (t Table) SQLiteSettings(ctx context.Context, pool *Pool) (SQLiteSettings, error) {
	var settings SQLiteSettings
	err := pool.Use(ctx, func(conn *sql.Conn) (err error) {
		if settings, err = t.settingsSQLite(ctx, conn); err != nil {
			return err
		}
		other, err := Another(ctx, pool.DB)
		if other == nil || err != nil {
			return err
		}
		defer func() { _ = other.Close() }() // fails only if it is closed
		timeout, err := busyTimeout(ctx, other)
		settings.BusyTimeout = min(settings.BusyTimeout, timeout)
		return err
	})
	return settings, err
}

func (t Table) settingsSQLite(ctx context.Context, db Querier) (settings SQLiteSettings, err error) {
	schema := t.Schema
	if schema == "" {
		schema = "main"
	}
	if settings.BusyTimeout, err = busyTimeout(ctx, db); err != nil {
		return settings, err
	}
	modes, err := texts(ctx, db, "PRAGMA "+t.Quote(schema)+".journal_mode")
	if err != nil {
		return settings, err
	}
	if len(modes) > 0 {
		settings.JournalMode = strings.ToLower(modes[0][0])
	}
	databases, err := texts(ctx, db, "SELECT name, coalesce(file, '') FROM pragma_database_list")
	for _, database := range databases {
		if strings.EqualFold(database[0], schema) {
			settings.InMemory = database[1] == ""
		}
	}
	return settings, err
}

func busyTimeout(ctx context.Context, db Querier) (milliseconds int, err error) {
	values, err := texts(ctx, db, "PRAGMA busy_timeout")
	if err != nil || len(values) == 0 {
		return 0, err
	}
	return strconv.Atoi(values[0][0])
}

// HintMemory adds a hint to the error about a missing table if the database is in
// memory and the pool may have several connections. The caller must not hold a
// connection of the pool.
func (t Table) HintMemory(ctx context.Context, pool *Pool, err error) error {
	if !t.inMemory(ctx, pool) {
		return err
	}
	return fmt.Errorf("%w; the database is in memory, where each connection has a database of its own unless they share a cache: "+
		"use a file, or call SetMaxOpenConns(1) of the sql.DB before the table is created", err)
}

// inMemory reports whether the database is in memory and the pool may have several
// connections.
func (t Table) inMemory(ctx context.Context, pool *Pool) bool {
	if t.Dialect != SQLite || pool.Stats().MaxOpenConnections == 1 {
		return false
	}
	var settings SQLiteSettings
	err := pool.Use(ctx, func(conn *sql.Conn) (err error) {
		settings, err = t.settingsSQLite(ctx, conn)
		return err
	})
	return err == nil && settings.InMemory
}
