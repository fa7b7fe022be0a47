package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// PgxTx converts a pgx.Tx of github.com/jackc/pgx/v5 to a transaction for the store:
//
//	tx, err := pool.Begin(ctx)
//	…
//	err = store.InsertTx(ctx, sqlstore.PgxTx(tx), record)
//
// The other methods of the store still need a *sql.DB on the same database;
// stdlib.OpenDBFromPool creates one from a pool.
func PgxTx[T interface{ RowsAffected() int64 }, R interface{ Scan(into ...any) error }](tx interface {
	Exec(ctx context.Context, sql string, args ...any) (T, error)
	QueryRow(ctx context.Context, sql string, args ...any) R
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}) outbox.Tx {
	if typednil.Is(tx) {
		return nil
	}
	return pgxTx[T, R]{tx}
}

type pgxTx[T interface{ RowsAffected() int64 }, R interface{ Scan(into ...any) error }] struct {
	tx interface {
		Exec(ctx context.Context, sql string, args ...any) (T, error)
		QueryRow(ctx context.Context, sql string, args ...any) R
		Commit(ctx context.Context) error
		Rollback(ctx context.Context) error
	}
}

// ExecContext runs a statement in the transaction.
func (t pgxTx[T, R]) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// ask runs a query that returns one row with one column.
func (t pgxTx[T, R]) ask(ctx context.Context, query string, args []any, into *string) error {
	return t.tx.QueryRow(ctx, query, args...).Scan(into)
}

// Commit commits the transaction. No store calls it.
func (t pgxTx[T, R]) Commit() error { return t.tx.Commit(context.Background()) }

// Rollback rolls the transaction back. No store calls it.
func (t pgxTx[T, R]) Rollback() error { return t.tx.Rollback(context.Background()) }
