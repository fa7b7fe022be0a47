package sqltable

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhereMySQL shows that a table is looked for in its own schema.
func TestWhereMySQL(t *testing.T) {
	for name, want := range map[string]string{
		"box":     " WHERE table_schema = DATABASE() AND table_name = 'box'",
		"app.box": " WHERE table_schema = 'app' AND table_name = 'box'",
	} {
		table, err := Parse(MySQL, name, errors.New("invalid"))
		require.NoError(t, err)
		assert.Equal(t, want, table.WhereMySQL())
	}
}
