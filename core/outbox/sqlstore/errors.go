package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// ErrSchema means that the table is not as the store needs it. The error says
// what is missing.
var ErrSchema = errors.New("schema does not fit")

// wrap says what failed. If the context has ended, that is the reason,
// whatever the driver says.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		err = fmt.Errorf("%w while in use", outbox.ErrClosed)
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, ErrSchema):
	case s.table.Classify(err) == sqltable.NoTable:
		err = fmt.Errorf("%w: table %s: %s: %w", ErrSchema, s.table, remedy, err)
	}
	return fmt.Errorf("outbox/sqlstore: %s: %w", what, err)
}
