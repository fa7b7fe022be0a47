package testdb

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGalera takes nodes away, in each way, and has them come back.
func TestGalera(t *testing.T) {
	t.Parallel()
	cluster := NewGalera(t, 3)
	dsns := cluster.Create(t)
	first, second, third := open(t, dsns[0]), open(t, dsns[1]), open(t, dsns[2])
	execute(t, first, "CREATE TABLE t (a INT PRIMARY KEY)")
	const sync = "SET wsrep_sync_wait = 7" // by the one connection of the pool
	second.SetMaxOpenConns(1)
	execute(t, second, sync, "INSERT INTO t VALUES (1)")

	// One is killed and comes back by a state transfer.
	cluster.Kill(t, cluster.Nodes[2])
	cluster.AwaitSize(t, 2)
	execute(t, first, "INSERT INTO t VALUES (2)")
	cluster.Start(t, cluster.Nodes[2])
	cluster.AwaitSize(t, 3)
	execute(t, third, "INSERT INTO t VALUES (3)")

	// One is cut off.
	cluster.Isolate(t, cluster.Nodes[2])
	_, err := third.ExecContext(t.Context(), "INSERT INTO t VALUES (4)")
	require.ErrorContains(t, err, "Error 1047")
	execute(t, first, "INSERT INTO t VALUES (4)")

	// The quorum is lost and regained.
	cluster.Kill(t, cluster.Nodes[1])
	cluster.AwaitNoQuorum(t, cluster.Nodes[0])
	_, err = first.ExecContext(t.Context(), "INSERT INTO t VALUES (5)")
	require.ErrorContains(t, err, "Error 1047")
	cluster.Bootstrap(t, cluster.Nodes[0])
	execute(t, first, "INSERT INTO t VALUES (5)")
	var n int
	require.NoError(t, first.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n))
	assert.Equal(t, 5, n)
}
