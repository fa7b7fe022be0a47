package sqlstore

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/outboxtest"
)

// TestStore runs the suite of every store on each database and driver.
func TestStore(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		db := stand.open(t)
		outboxtest.Run(t,
			func(t *testing.T) outbox.Store { return opened(t, db, stand.dialect) },
			outboxtest.Reopening(func(t *testing.T, store outbox.Store) outbox.Store {
				old := store.(*Store)
				require.NoError(t, old.Close())
				return another(t, old)
			}),
			outboxtest.Bounded(func(t *testing.T, maxRecords int, maxBytes int64) outbox.Store {
				return opened(t, db, stand.dialect, WithMaxRecords(maxRecords), WithMaxBytes(maxBytes))
			}))
	})
}

// TestStoreThroughPooler runs the suite through a pooler that has four connections to
// the server, and gives each transaction another one.
func TestStoreThroughPooler(t *testing.T) {
	t.Parallel()
	dsn := testdb.NewPgBouncer(t, testdb.Postgres(t).Create(t), 4)
	db := connect(t, "pgx", dsn+"&default_query_exec_mode=exec")
	outboxtest.Run(t, func(t *testing.T) outbox.Store { return opened(t, db, Postgres) })
}

func TestNewNamesANilOption(t *testing.T) {
	_, err := New(&sql.DB{}, SQLite, WithMaxRecords(1), nil)
	require.ErrorIs(t, err, outbox.ErrInvalid)
	require.ErrorContains(t, err, "options[1] is nil")
}
