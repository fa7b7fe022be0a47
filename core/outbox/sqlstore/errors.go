package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// ErrSchema means that the table does not have the structure that the store needs.
// The error names the missing or wrong part.
var ErrSchema = errors.New("schema does not fit")

// ErrSession means that the table fits, but statements do not have the effect that
// the store needs: because of a setting of the session or the server, such as
// autocommit = 0, row-level security, or a trigger. The error names the setting if
// it is known.
var ErrSession = sqltable.ErrSession

// poolerHint explains an unknown prepared statement.
const poolerHint = "with a pooler that assigns a connection to each transaction, such as PgBouncer in transaction mode, " +
	"set default_query_exec_mode=exec of pgx, or binary_parameters=yes of lib/pq"

// wrap adds what failed to an error. If the context has ended, its error replaces
// the driver's.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		err = fmt.Errorf("%w while in use", outbox.ErrClosed)
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, ErrSchema), errors.Is(err, ErrSession):
	case s.table.Classify(err) == sqltable.NoTable:
		err = fmt.Errorf("%w: table %s: %s: %w", ErrSchema, s.table, remedy, err)
	case s.table.Classify(err) == sqltable.Unprepared:
		err = fmt.Errorf("%w; %s", err, poolerHint)
	}
	return fmt.Errorf("outbox/sqlstore: %s: %w", what, err)
}
