package testdb

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPgBouncer shows that two clients have the same session, one after the
// other.
func TestPgBouncer(t *testing.T) {
	dsn := PgBouncer(t, Postgres(t).Create(t))
	first, second := open(t, dsn), open(t, dsn)
	execute(t, first, "CREATE TABLE t (a INT)", "SET work_mem = '5MB'")
	var value string
	require.NoError(t, second.QueryRowContext(t.Context(), "SELECT current_setting('work_mem')").Scan(&value))
	assert.Equal(t, "5MB", value)
}
