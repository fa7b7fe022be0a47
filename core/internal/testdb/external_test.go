package testdb

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExternal shares a server that is already running.
func TestExternal(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		running := kind.own(t)
		variable := externalVariable(running.engine)
		t.Setenv(variable, running.engine.dsn(running.port, ""))
		server, err := newShared(t.Context(), running.engine)
		require.NoError(t, err)
		assert.True(t, server.isExternal())
		var dsn string
		t.Run("uses a database", func(t *testing.T) {
			dsn = server.Create(t)
			assert.NotEqual(t, dsn, server.Create(t))
			assert.Contains(t, dsn, running.Address())
			assert.Equal(t, strings.Contains(running.engine.dsn(1, ""), "?"), strings.Contains(dsn, "?"), "callers add options to the same form")
			db := open(t, dsn)
			execute(t, db, "CREATE TABLE t (a INT)")
		})
		assert.Error(t, open(t, dsn).PingContext(t.Context()), "the database was dropped")
		assert.NoError(t, (&shared{server: server}).discard())
		assert.NotZero(t, running.Pid(), "it is somebody else's")

		running.Stop(t)
		_, err = newShared(t.Context(), running.engine)
		assert.ErrorContains(t, err, variable)
	})
}
