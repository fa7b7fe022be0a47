package sqlite

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// version1 makes a file of version 1 with a pending and a dead row, as a release
// for that version has left it. Its messages with a key have that for their id.
func version1(t *testing.T) string {
	t.Helper()
	path := file(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	now := time.Now().UnixMicro()
	_, err = db.Exec(migrations[0] + fmt.Sprintf(`
INSERT INTO outbox (id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload) VALUES
	('waiting', 0, %[1]d, '', 1, %[1]d, NULL, 16, 'orders', 'timeout', x'7b7d', x'7b226e223a317d'),
	('dead', 1, %[1]d, '', 3, %[1]d, NULL, 16, 'orders', 'server answered 400', x'7b7d', x'7b226e223a327d');
PRAGMA application_id = %[2]d; PRAGMA user_version = 1; PRAGMA journal_mode = WAL`, now, applicationID))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return path
}

func TestFileOfVersion1(t *testing.T) {
	path := version1(t)
	for range 2 { // the second time it is of the present version
		store := opened(t, path)
		records, err := store.List(t.Context(), outbox.Query{})
		require.NoError(t, err)
		require.Len(t, records, 2)
		assert.Equal(t, "dead", records[0].ID)
		assert.Equal(t, outbox.Dead, records[0].State)
		assert.Equal(t, "waiting", records[1].ID)
		assert.JSONEq(t, `{"n":1}`, string(records[1].Payload))
		assert.Empty(t, records[1].DedupKey)

		for _, key := range []string{"waiting", "dead"} {
			record := message(t)
			record.DedupKey = key
			require.NoError(t, store.Insert(t.Context(), 0, record))
			holders, err := store.List(t.Context(), outbox.Query{DedupKey: key})
			require.NoError(t, err)
			require.Len(t, holders, 1)
			assert.Equal(t, key, holders[0].ID)
		}
		require.NoError(t, store.Close())
	}

	store := opened(t, path)
	claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 10, Lease: time.Hour})
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	assert.Equal(t, 2, claimed[0].Attempts)
	n, err := store.Delete(t.Context(), "waiting", "dead")
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	for range 2 {
		record := message(t)
		record.DedupKey = "waiting"
		require.NoError(t, store.Insert(t.Context(), 0, record))
	}
	stats, err := store.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, stats.Pending)
}

// TestUpgradeIsAllOrNothing shows that a file whose upgrade fails is left as it
// was.
func TestUpgradeIsAllOrNothing(t *testing.T) {
	path := version1(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE outbox_key (x)") // takes the name of an index
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = Open(t.Context(), path)
	require.ErrorContains(t, err, "outbox_key")

	db, err = sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var version, columns int
	require.NoError(t, db.QueryRow("PRAGMA user_version").Scan(&version))
	require.NoError(t, db.QueryRow("SELECT count(*) FROM pragma_table_info('outbox') WHERE name = 'dedup_key'").Scan(&columns))
	assert.Equal(t, 1, version)
	assert.Zero(t, columns)
	_, err = db.Exec("DROP TABLE outbox_key")
	require.NoError(t, err)
}
