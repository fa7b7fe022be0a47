package testdb

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPostgresPair exchanges the roles of two servers, after a crash of the
// primary, and sees what has been committed.
func TestPostgresPair(t *testing.T) {
	t.Parallel()
	pair := NewPostgresPair(t, Synchronous)
	dsn := pair.Create(t)
	proxy := NewProxy(t, pair.Primary.Address())
	before := open(t, proxy.Through(pair.Primary, dsn))
	execute(t, before, "CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)")
	standby := open(t, pair.Standby.engine.dsn(pair.Standby.port, "test_1"))
	_, err := standby.ExecContext(t.Context(), "CREATE TABLE u (a INT)")
	require.ErrorContains(t, err, "read-only transaction")

	old := pair.Primary
	old.Kill(t)
	pair.Promote(t)
	assert.Same(t, old, pair.Standby)
	require.Error(t, before.PingContext(t.Context()), "the proxy leads to the old primary")
	proxy.Flip(pair.Primary.Address())
	execute(t, before, "INSERT INTO t VALUES (3)")
	execute(t, standby, "INSERT INTO t VALUES (4)")
	pair.Rejoin(t)
	execute(t, before, "INSERT INTO t VALUES (5)")

	// The connection stays with its server until it is cut.
	before.SetMaxOpenConns(1)
	proxy.Flip(pair.Standby.Address())
	execute(t, before, "INSERT INTO t VALUES (6)")
	proxy.Cut()
	require.Error(t, before.PingContext(t.Context()))
	_, err = before.ExecContext(t.Context(), "INSERT INTO t VALUES (7)")
	require.ErrorContains(t, err, "read-only transaction")
	var values string
	require.NoError(t, before.QueryRowContext(t.Context(), "SELECT string_agg(a::text, ',' ORDER BY a) FROM t").Scan(&values))
	assert.Equal(t, "1,3,4,5,6", values)
}
