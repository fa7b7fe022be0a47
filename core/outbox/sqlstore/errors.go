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

// ErrSession means that statements do on the connections of the pool something
// else than the store needs, though the table fits: because of a setting of the
// session or the server, such as autocommit = 0, of row-level security, or of a
// trigger. The error names the setting, where it is known.
var ErrSession = sqltable.ErrSession

// poolerHint says what an unknown prepared statement means.
const poolerHint = "a pooler that gives each transaction another connection, such as PgBouncer in transaction mode, " +
	"needs default_query_exec_mode=exec of pgx, or binary_parameters=yes of lib/pq"

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
	case errors.Is(err, ErrSchema), errors.Is(err, ErrSession):
	case s.table.Classify(err) == sqltable.NoTable:
		err = fmt.Errorf("%w: table %s: %s: %w", ErrSchema, s.table, remedy, err)
	case s.table.Classify(err) == sqltable.Unprepared:
		err = fmt.Errorf("%w; %s", err, poolerHint)
	}
	return fmt.Errorf("outbox/sqlstore: %s: %w", what, err)
}
