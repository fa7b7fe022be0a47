package sqldedup

import (
	"context"
	"fmt"
)

// change runs a statement and returns how many rows it changed.
func (s *Store) change(ctx context.Context, statement string) (n int, err error) {
	err = s.table.Retry(ctx, func() error {
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
