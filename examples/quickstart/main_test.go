package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuickstart(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	assert.Equal(t, 3, strings.Count(out.String(), "the message is delivered."))
	assert.Equal(t, 6, strings.Count(out.String(), "the message is stored."))
	assert.Equal(t, 9, strings.Count(out.String(), "Arrived: "))
	assert.Contains(t, out.String(), "attributes app=echo request_id=first-2")
	assert.Contains(t, out.String(), "All 9 messages arrived")
}
