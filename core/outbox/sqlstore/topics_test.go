package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// TestTopicsInAnyCollation has topics of the same size in a database that orders
// texts by a language.
func TestTopicsInAnyCollation(t *testing.T) {
	t.Parallel()
	store := opened(t, connect(t, "pgx", testdb.Postgres(t).Create(t)), Postgres)
	_, err := store.db.DB.ExecContext(t.Context(), `ALTER TABLE `+store.table.SQL()+` ALTER COLUMN topic TYPE text COLLATE "en-x-icu"`)
	require.NoError(t, err)
	records := messages(t, 3)
	records[0].Topic, records[1].Topic, records[2].Topic = "apples", "Zebras", "_"
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	counts, err := store.CountTopics(t.Context(), 2)
	require.NoError(t, err)
	assert.Equal(t, []outbox.TopicCount{{Topic: "Zebras", Pending: 1}, {Topic: "_", Pending: 1}}, counts)
}
