package sqldedup

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// change runs a statement and returns how many rows it changed.
func (s *Store) change(ctx context.Context, statement string) (n int, err error) {
	err = s.db.Retry(ctx, func() error {
		n, err = run(ctx, s.db, statement)
		return err
	})
	return n, err
}

// run runs a statement once, and returns how many rows it changed.
func run(ctx context.Context, db execer, statement string) (int, error) {
	result, err := db.ExecContext(ctx, statement)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// affected returns the error of a statement that settles a claim: if it changed no
// row, the claim is lost.
func affected(n int, err error) error {
	if err == nil && n == 0 {
		return delivery.ErrLeaseLost
	}
	return err
}

// first runs a query for one row.
func (s *Store) first(ctx context.Context, query string, into ...any) error {
	return s.db.Retry(ctx, func() error {
		return s.db.Use(ctx, func(conn *sql.Conn) error { return conn.QueryRowContext(ctx, query).Scan(into...) })
	})
}

// wrap adds what failed to an error. If the context has ended, its error replaces
// the driver's.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	if err == nil || err == delivery.ErrLeaseLost { //nolint:errorlint // it is never wrapped here
		return err
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("sqldedup: %s: table %s: %w", what, s.table, err)
}
