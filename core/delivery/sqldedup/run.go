package sqldedup

import (
	"context"
	"database/sql"
	"fmt"
)

// change runs a statement and returns how many rows it changed.
func (s *Store) change(ctx context.Context, statement string) (n int, err error) {
	err = s.db.Retry(ctx, func() error {
		result, err := s.db.ExecContext(ctx, statement)
		if err != nil {
			return err
		}
		changed, err := result.RowsAffected()
		n = int(changed)
		return err
	})
	return n, err
}

// first runs a query for one row.
func (s *Store) first(ctx context.Context, query string, into ...any) error {
	return s.db.Retry(ctx, func() error {
		return s.db.Use(ctx, func(conn *sql.Conn) error { return conn.QueryRowContext(ctx, query).Scan(into...) })
	})
}

// wrap says what failed. If the context has ended, that is the reason,
// whatever the driver says.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("sqldedup: %s: table %s: %w", what, s.table, err)
}
