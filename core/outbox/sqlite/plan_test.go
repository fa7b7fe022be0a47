package sqlite

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// plan returns how SQLite goes about a statement.
func plan(t *testing.T, store *Store, query string, args ...any) string {
	t.Helper()
	var steps []string
	require.NoError(t, store.read(t.Context(), func(w *writer) error {
		return w.rows("EXPLAIN QUERY PLAN "+query, args, func(scan func(...any) error) (bool, error) {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			steps = append(steps, detail)
			return true, err
		})
	}))
	return strings.Join(steps, "\n")
}

// TestNoStatementReadsTheTable shows that no cost grows with the backlog: each
// statement searches an index, none sorts, and what counts reads an index
// alone.
func TestNoStatementReadsTheTable(t *testing.T) {
	store := opened(t, file(t))
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 100)...))
	check := func(query, want string) {
		t.Helper()
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = 1
		}
		got := plan(t, store, query, args...)
		assert.Contains(t, got, want, query)
		assert.NotContains(t, got, "TEMP B-TREE", "%s sorts", query)
		for line := range strings.Lines(got) {
			if strings.Contains(line, "SCAN outbox") {
				assert.Contains(t, line, "INDEX", "%s reads the table", query)
			}
		}
	}
	check(selectDue, "SEARCH outbox USING INDEX outbox_due (due_at<?)")
	check(selectDueUnscheduled, "SEARCH outbox USING INDEX outbox_due (due_at<?)")
	check(selectDueOfTopic, "SEARCH outbox USING INDEX outbox_topic_due (topic=? AND due_at<?)")
	check(selectDueOfTopicUnscheduled, "SEARCH outbox USING INDEX outbox_topic_due (topic=? AND due_at<?)")
	check(selectTopics, "SEARCH outbox USING COVERING INDEX outbox_topic_due (topic>?)")
	check(selectTopics, "SEARCH outbox USING COVERING INDEX outbox_topic_due (topic=?)")
	assert.Contains(t, plan(t, store, selectOldestTopics, 1, 1, ""), "SEARCH outbox USING INDEX outbox_due (due_at<?)")
	assert.Contains(t, plan(t, store, countTopics, "", "", 1), "SEARCH outbox USING COVERING INDEX outbox_topic ((topic,id)>(?,?))")
	assert.Contains(t, plan(t, store, countHeldOfTopics, 1), "SEARCH outbox USING INDEX outbox_held (due_at>?)")
	check(selectNext, "SEARCH outbox USING COVERING INDEX outbox_due (due_at<?)")
	check(leaseRecord, "SEARCH outbox USING INTEGER PRIMARY KEY")
	check(retryRecord, "SEARCH outbox USING INTEGER PRIMARY KEY")
	check(discardRecord, "SEARCH outbox USING INTEGER PRIMARY KEY")
	check(rescheduleRecord, "SEARCH outbox USING INDEX outbox_id (id=?)")
	check(deleteRecord, "SEARCH outbox USING INDEX outbox_id (id=?)")
	check(deleteRecords, "SEARCH outbox USING COVERING INDEX outbox_id (id=?)")
	check(selectByID, "SEARCH outbox USING INDEX outbox_id (id=?)")
	check(selectLast, "SEARCH outbox")
	check(selectHolder, "SEARCH outbox USING INDEX outbox_key (dedup_key=?)")
	for _, statements := range []*finishing{finishingFew, finishingMany} {
		check(statements.read, "SEARCH outbox USING INDEX outbox_id (id=?)")
		check(statements.rewrite, "SEARCH outbox USING INDEX outbox_id (id=?)")
		check(statements.remove, "SEARCH outbox USING INDEX outbox_id (id=?)")
	}
	check(deleteExpired, "SEARCH outbox USING COVERING INDEX outbox_due (due_at>? AND due_at<?)")
	check(selectHolder, "SEARCH outbox USING COVERING INDEX outbox_id (id=?)")
	check(countHeld, "SEARCH outbox USING COVERING INDEX outbox_held (due_at>?)")
	check(selectOldest, "SEARCH outbox USING COVERING INDEX outbox_created (created_at<?)")
	check(countTopic, "SEARCH outbox USING COVERING INDEX outbox_topic (topic=? AND id>?)")
	check(countPending, "SEARCH outbox USING COVERING INDEX outbox_created (created_at<?)")
	check(countDead, "SCAN outbox USING COVERING INDEX outbox_dead")

	pending, dead := outbox.Pending, outbox.Dead
	for _, list := range []struct {
		topic string
		state *outbox.State
		want  string
	}{
		{"", nil, "SEARCH outbox USING INDEX outbox_id (id>?)"},
		{"", &pending, "SEARCH outbox USING INDEX outbox_id (id>?)"},
		{"", &dead, "SEARCH outbox USING INDEX outbox_dead (id>?)"},
		{"orders", nil, "SEARCH outbox USING INDEX outbox_topic (topic=? AND id>?)"},
		{"orders", &pending, "SEARCH outbox USING INDEX outbox_topic (topic=? AND id>?)"},
		{"orders", &dead, "SEARCH outbox USING INDEX outbox_topic (topic=? AND id>?)"},
	} {
		from, _ := filtered(list.topic, list.state, "")
		for _, most := range []int{0, 100, -1} {
			names, _ := listColumns(most)
			check("SELECT "+names+from+" ORDER BY id LIMIT ?", list.want)
			byID := strings.TrimSuffix(strings.Replace(list.want, "id>?", "id=?", 1), ")")
			check("SELECT "+names+from+" AND id = ?", byID)
		}
		check("SELECT seq, id, state, size, topic"+from+" AND seq <= ? ORDER BY id LIMIT ?", list.want)
	}
}

// TestScheduledAreSkippedInTheIndex shows that SkipScheduled does not read
// the records it skips: they may have large payloads.
func TestScheduledAreSkippedInTheIndex(t *testing.T) {
	store := opened(t, file(t))
	records := messages(t, 50)
	for i := range records {
		records[i].DeliverAt = time.Now().Add(time.Hour)
		records[i].Payload = []byte(`{"x":"` + strings.Repeat("x", 100_000) + `"}`)
	}
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	require.NoError(t, store.Close())

	// On a cold cache the pages read show which rows were looked at.
	store = opened(t, store.path)
	options := outbox.ClaimOptions{Limit: 10, Lease: time.Hour, SkipScheduled: true}
	claimed, err := store.Claim(t.Context(), options)
	require.NoError(t, err)
	assert.Empty(t, claimed)
	assert.Less(t, misses(t, store), 20, "pages read")
	options.PerTopic = 10
	claimed, err = store.Claim(t.Context(), options)
	require.NoError(t, err)
	assert.Empty(t, claimed)
	assert.Less(t, misses(t, store), 30, "pages read")
	options.SkipScheduled = false
	claimed, err = store.Claim(t.Context(), options)
	require.NoError(t, err)
	assert.Len(t, claimed, 10)
	assert.Greater(t, misses(t, store), 100, "pages read")
}

// TestCountInSteps counts more than fit in a step, of two topics and states.
func TestCountInSteps(t *testing.T) {
	store := opened(t, file(t))
	records := messages(t, 2*countStep+5)
	for i := range records {
		if i%3 == 0 {
			records[i].State = outbox.Dead
		}
		if i >= 2*countStep {
			records[i].Topic = "another"
		}
	}
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	dead := outbox.Dead
	for want, selection := range map[int]outbox.Selection{
		2 * countStep: {Topic: records[0].Topic}, 5: {Topic: "another"}, 2*countStep/3 + 1: {Topic: records[0].Topic, State: &dead},
	} {
		n, err := store.Count(t.Context(), selection)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
}
