package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"time"
)

// Pool is the caller's pool of connections, from which unusable connections are
// removed: after a failover the pool would keep the connections to a read-only
// server, and return them again and again. Use, [Each] and ExecContext remove them;
// the other methods are the ones of database/sql.
type Pool struct {
	*sql.DB
	Dialect Dialect

	conflicts, failovers atomic.Int64
}

// Retries counts the attempts that Retry has repeated.
type Retries struct {
	// Conflicts are attempts that the database undid: see [Conflict].
	Conflicts int64
	// Failovers are attempts that failed because of their connection: see [Unfit]
	// and [Lost].
	Failovers int64
}

// Retries returns how many attempts Retry has repeated.
func (p *Pool) Retries() Retries {
	return Retries{Conflicts: p.conflicts.Load(), Failovers: p.failovers.Load()}
}

// connectError is the error of a pool that has no connection.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// Connection returns a connection of the pool.
func (p *Pool) Connection(ctx context.Context) (*sql.Conn, error) {
	conn, err := p.Conn(ctx)
	if err != nil && !errors.Is(err, driver.ErrBadConn) {
		return nil, connectError{err}
	}
	return conn, err
}

// Use runs a function with a connection, and removes the connection from the pool if
// the function's error means that it is unusable.
func (p *Pool) Use(ctx context.Context, run func(*sql.Conn) error) error {
	conn, err := p.Connection(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fails only if it is closed
	err = run(conn)
	p.Shed(ctx, conn, err)
	return err
}

// shedTime bounds the removal of a connection.
const shedTime = time.Second

// Shed removes a connection from the pool if an error means that it is unusable, and
// reports whether it is. If its server is unfit, Shed also closes the idle
// connections: they may lead to the same server, where queries would keep returning
// data from before a failover.
func (p *Pool) Shed(ctx context.Context, conn *sql.Conn, err error) bool {
	failure := p.Dialect.Classify(err)
	if failure != Unfit && failure != Lost && !p.Dialect.outOfStep(err) {
		return false
	}
	if failure == Unfit && p.Dialect == Postgres {
		// A pooler between the pool and the server has its own connections. It
		// closes a server connection whose client disconnects in the middle of a
		// transaction.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shedTime)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "BEGIN") // fails within a transaction
	}
	Discard(conn)
	if failure == Unfit {
		p.dropIdle(ctx)
	}
	return true
}

// dropIdle closes the idle connections.
func (p *Pool) dropIdle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shedTime)
	defer cancel()
	for range p.Stats().Idle {
		if p.Stats().Idle == 0 {
			return // the pool would open a new one
		}
		conn, err := p.Conn(ctx)
		if err != nil {
			return
		}
		Discard(conn)
		_ = conn.Close() // closed already
	}
}

// Discard closes a connection so that the pool does not use it again.
func Discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// ExecContext runs a statement on a connection, like Use.
func (p *Pool) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = p.Use(ctx, func(conn *sql.Conn) error {
		result, err = conn.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// Querier runs queries: a *Pool, *sql.Conn or *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Each runs a query and calls a function for each row.
func Each(ctx context.Context, db Querier, query string, args []any, row func(scan func(...any) error) error) (err error) {
	if pool, ok := db.(*Pool); ok {
		return pool.Use(ctx, func(conn *sql.Conn) error { return Each(ctx, conn, query, args, row) })
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if failed := rows.Close(); err == nil {
			err = failed
		}
	}()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
