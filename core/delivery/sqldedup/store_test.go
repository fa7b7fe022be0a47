package sqldedup_test

import (
	"database/sql"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/deduptest"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

func TestSuite(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		deduptest.Run(t, func(t *testing.T) delivery.Deduplicator {
			store, _ := opened(t, db, stand.dialect)
			return store
		})
	})
}

func TestSuiteOfVersions(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		deduptest.RunLatest(t, func(t *testing.T) delivery.LatestDeduplicator {
			store, _ := opened(t, db, stand.dialect)
			return store
		})
	})
}

func TestInvalid(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	_, err = sqldedup.New(nil, sqlstore.SQLite)
	require.ErrorIs(t, err, sqldedup.ErrInvalid)
	require.ErrorContains(t, err, "db")
	_, err = sqldedup.New(db, sqlstore.SQLite, nil)
	require.ErrorIs(t, err, sqldedup.ErrInvalid)
	require.ErrorContains(t, err, "options[0]")
	for _, dialect := range []sqlstore.Dialect{0, 4, -1} {
		_, err = sqldedup.New(db, dialect)
		require.ErrorIs(t, err, sqldedup.ErrInvalid)
		require.ErrorContains(t, err, "dialect")
	}
	for _, name := range []string{"", "a b", "a.b.c", ".a", "a.", `a"b`, "1a", "é", fmt.Sprintf("%059d", 0), "x" + fmt.Sprintf("%058d", 0)} {
		_, err = sqldedup.New(db, sqlstore.SQLite, sqldedup.WithTable(name))
		require.ErrorIs(t, err, sqldedup.ErrInvalid, name)
		require.ErrorContains(t, err, "table")
	}
}

// TestPrune has rows of all kinds, of which those whose time has passed go.
func TestPrune(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		store, table := opened(t, db, stand.dialect)
		const over = 300 // more than one batch
		for i := range over {
			_, token, err := store.Begin(t.Context(), strconv.Itoa(i), time.Microsecond)
			require.NoError(t, err)
			if i%2 == 0 {
				require.NoError(t, store.Done(t.Context(), strconv.Itoa(i), token, time.Microsecond))
			}
		}
		_, _, err := store.Begin(t.Context(), "running", time.Hour)
		require.NoError(t, err)
		_, token, err := store.Begin(t.Context(), "done", time.Hour)
		require.NoError(t, err)
		require.NoError(t, store.Done(t.Context(), "done", token, time.Hour))
		require.Eventually(t, func() bool {
			_, err := store.Prune(t.Context())
			require.NoError(t, err)
			return count(t, db, quoted(stand.dialect, table)) == 2
		}, 20*time.Second, 5*time.Millisecond)
		state, _, err := store.Begin(t.Context(), "done", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, delivery.Handled, state)
	})
}

// TestTableDoesNotGrow begins messages only, as an app does: what is over is
// removed on the way.
func TestTableDoesNotGrow(t *testing.T) {
	onEach(t, func(t *testing.T, stand stand, db *sql.DB) {
		store, table := opened(t, db, stand.dialect)
		for i := range 500 {
			_, _, err := store.Begin(t.Context(), strconv.Itoa(i), time.Microsecond)
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, count(t, db, quoted(stand.dialect, table)), 150)
	})
}
