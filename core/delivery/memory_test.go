package delivery_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/deduptest"
)

// newMemory makes a deduplicator in memory.
func newMemory(t *testing.T, max int) *delivery.Memory {
	t.Helper()
	memory, err := delivery.NewMemory(max)
	require.NoError(t, err)
	return memory
}

func TestMemory(t *testing.T) {
	deduptest.Run(t, func(t *testing.T) delivery.Deduplicator { return newMemory(t, 0) })
}

func TestMemoryOfVersions(t *testing.T) {
	deduptest.RunLatest(t, func(t *testing.T) delivery.LatestDeduplicator { return newMemory(t, 0) })
}

func TestMemoryNegativeMax(t *testing.T) {
	_, err := delivery.NewMemory(-1)
	require.ErrorContains(t, err, "max")
}

// handled has a memory handle a message.
func handled(t *testing.T, memory *delivery.Memory, key string, keep time.Duration) {
	t.Helper()
	state, token, err := memory.Begin(t.Context(), key, time.Hour)
	require.NoError(t, err)
	require.Equal(t, delivery.Begun, state)
	require.NoError(t, memory.Done(t.Context(), key, token, keep))
}

// TestMemoryIsBounded forgets the oldest, and never a message that is being handled.
func TestMemoryIsBounded(t *testing.T) {
	memory := newMemory(t, 10)
	_, _, err := memory.Begin(t.Context(), "running", time.Hour)
	require.NoError(t, err)
	for i := range 100 {
		handled(t, memory, strconv.Itoa(i), time.Hour)
		require.LessOrEqual(t, memory.Len(), 11)
	}
	for key, want := range map[string]delivery.State{
		"running": delivery.Running, "99": delivery.Handled, "90": delivery.Handled, "89": delivery.Begun,
	} {
		state, _, err := memory.Begin(t.Context(), key, time.Hour)
		require.NoError(t, err)
		assert.Equal(t, want, state, key)
	}
}

func TestMemoryForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t, 0)
		for i := range 50 {
			handled(t, memory, strconv.Itoa(i), time.Minute)
		}
		handled(t, memory, "long", time.Hour)
		time.Sleep(time.Minute - time.Nanosecond)
		state, _, err := memory.Begin(t.Context(), "0", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, delivery.Handled, state)
		time.Sleep(time.Nanosecond)
		handled(t, memory, "0", time.Minute)
		assert.Equal(t, 2, memory.Len(), "what is over is removed")
	})
}

// TestMemoryForgetsTheOldestVersions has versions and messages share the bound.
func TestMemoryForgetsTheOldestVersions(t *testing.T) {
	memory := newMemory(t, 2)
	handleVersion := func(key string, version int64) {
		state, token, err := memory.BeginLatest(t.Context(), key, version, time.Hour)
		require.NoError(t, err)
		require.Equal(t, delivery.Begun, state)
		require.NoError(t, memory.Done(t.Context(), key, token, time.Hour))
	}
	handleVersion("a", 5)
	handleVersion("b", 5)
	handleVersion("a", 6)
	assert.Equal(t, 2, memory.Len(), "a version replaces the one before")
	handled(t, memory, "message", time.Hour)
	assert.Equal(t, 2, memory.Len())
	handleVersion("b", 4) // b was the oldest, and is forgotten
	state, _, err := memory.BeginLatest(t.Context(), "a", 6, time.Hour)
	require.NoError(t, err)
	assert.Equal(t, delivery.Begun, state, "a was the next")
}
