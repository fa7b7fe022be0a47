package sqldedup_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// TestFailover exchanges the server while pools have connections to the old one,
// which stay open: each call continues at once, with the new server.
func TestFailover(t *testing.T) {
	pair := testdb.NewPostgresPair(t, testdb.Synchronous)
	proxy := testdb.NewProxy(t, pair.Primary.Address())
	dsn := proxy.Through(pair.Primary, pair.Create(t))
	var handled, running, version string
	calls := []struct {
		name string
		call func(store *sqldedup.Store) error
	}{
		{"Begin", func(s *sqldedup.Store) error {
			state, _, err := s.Begin(t.Context(), "new", time.Hour)
			assert.Equal(t, delivery.Begun, state)
			return err
		}},
		{"Done", func(s *sqldedup.Store) error { return s.Done(t.Context(), "handled", handled, time.Hour) }},
		{"BeginLatest", func(s *sqldedup.Store) error {
			state, _, err := s.BeginLatest(t.Context(), "new", 5, time.Hour)
			assert.Equal(t, delivery.Begun, state)
			return err
		}},
		{"Done of a version", func(s *sqldedup.Store) error { return s.Done(t.Context(), "version", version, time.Hour) }},
		{"Abort", func(s *sqldedup.Store) error { return s.Abort(t.Context(), "running", running) }},
		{"Prune", func(s *sqldedup.Store) error {
			_, err := s.Prune(t.Context())
			return err
		}},
		{"Check", func(s *sqldedup.Store) error { return s.Check(t.Context()) }},
	}
	stores := map[string]*sqldedup.Store{}
	for _, c := range calls {
		db := connect(t, "pgx", dsn)
		require.NoError(t, sqldedup.Migrate(t.Context(), db, sqlstore.Postgres))
		fill(t, db)
		store, err := sqldedup.New(db, sqlstore.Postgres)
		require.NoError(t, err)
		stores[c.name] = store
	}
	var err error
	_, handled, err = stores["Done"].Begin(t.Context(), "handled", time.Hour)
	require.NoError(t, err)
	_, running, err = stores["Abort"].Begin(t.Context(), "running", time.Hour)
	require.NoError(t, err)
	_, version, err = stores["Done of a version"].BeginLatest(t.Context(), "version", 5, time.Hour)
	require.NoError(t, err)
	pair.Switch(t)
	proxy.Flip(pair.Primary.Address())
	for _, c := range calls {
		require.NoError(t, c.call(stores[c.name]), c.name)
	}
	for key, want := range map[string]delivery.State{"new": delivery.Running, "handled": delivery.Handled, "running": delivery.Begun} {
		state, _, err := stores["Check"].Begin(t.Context(), key, time.Hour)
		require.NoError(t, err)
		assert.Equal(t, want, state, key)
	}
	for key, want := range map[string]delivery.State{"new": delivery.Running, "version": delivery.Handled} {
		state, _, err := stores["Check"].BeginLatest(t.Context(), key, 5, time.Hour)
		require.NoError(t, err)
		assert.Equal(t, want, state, key)
	}
}

// fill has a pool open several connections.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	for range 5 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.PingContext(t.Context()))
		defer func() { require.NoError(t, conn.Close()) }()
	}
}
