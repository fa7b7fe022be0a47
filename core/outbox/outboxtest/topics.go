package outboxtest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// topicTests are about stores that count by topic.
var topicTests = map[string]func(*env){
	"Counts": testCountTopics,
	"Held":   testCountHeldOfTopics,
	"Many":   testCountManyTopics,
	"Keys":   testKeysHaveNoTopic,
}

// counter opens the store of the test, and skips the test if it does not count by
// topic.
func (e *env) counter() outbox.TopicCounter {
	e.Helper()
	e.opened()
	return storeAs[outbox.TopicCounter](e, "outbox.TopicCounter")
}

// topics counts by topic.
func (e *env) topics(limit int) []outbox.TopicCount {
	e.Helper()
	counts, err := e.store.(outbox.TopicCounter).CountTopics(e.ctx, limit)
	require.NoError(e, err)
	return counts
}

func testCountTopics(e *env) {
	counter := e.counter()
	assert.Empty(e, e.topics(10))
	for range 3 {
		e.insert(e.record("bills"))
		e.tick()
	}
	claimed := e.claim(2, long)
	e.reschedule(1, outbox.Change{ID: claimed[0].ID, LeaseToken: claimed[0].LeaseToken, Dead: true})
	for _, name := range []string{"zebra", "ünï", "Zoo", "'", "orders", "orders"} {
		e.insert(e.record(name))
	}
	dead := e.record("dead")
	dead.State = outbox.Dead
	e.insert(dead)
	want := []outbox.TopicCount{
		{Topic: "bills", Pending: 2, Held: 1, Dead: 1}, {Topic: "orders", Pending: 2},
	}
	got := e.topics(100)
	require.Len(e, got, 7)
	assert.Equal(e, want, got[:2], "the largest first")
	assert.Equal(e, []outbox.TopicCount{
		{Topic: "'", Pending: 1}, {Topic: "Zoo", Pending: 1}, {Topic: "dead", Dead: 1}, {Topic: "zebra", Pending: 1}, {Topic: "ünï", Pending: 1},
	}, got[2:], "by the bytes of their names")
	assert.Equal(e, want[:1], e.topics(1))
	for _, limit := range []int{0, -1} {
		_, err := counter.CountTopics(e.ctx, limit)
		assert.ErrorIs(e, err, outbox.ErrInvalid)
	}
}

// testCountHeldOfTopics has a lease end, which holds nothing any more.
func testCountHeldOfTopics(e *env) {
	e.counter()
	e.inserted(1)
	e.claimOne(e.short)
	if e.suite.bubble {
		assert.Equal(e, 1, e.topics(1)[0].Held)
	}
	e.untilDue()
	e.pass(e.short)
	assert.Equal(e, []outbox.TopicCount{{Topic: topic, Pending: 1}}, e.topics(1))
}

// testCountManyTopics has more records than a store may count in a step.
func testCountManyTopics(e *env) {
	e.counter()
	var records []outbox.Record
	sizes := map[string]int{"large": 10_001, "middle": 11, "small": 1}
	for name, n := range sizes {
		for range n {
			records = append(records, e.record(name))
		}
	}
	e.insert(records...)
	assert.Equal(e, []outbox.TopicCount{
		{Topic: "large", Pending: sizes["large"]}, {Topic: "middle", Pending: sizes["middle"]}, {Topic: "small", Pending: sizes["small"]},
	}, e.topics(10))
}

// testKeysHaveNoTopic remembers a key, which is no record.
func testKeysHaveNoTopic(e *env) {
	e.counter()
	storeAs[outbox.Keeper](e, "outbox.Keeper")
	record := e.record("orders")
	record.DedupKey = "key"
	e.insert(record)
	e.finish(1, long, record.ID)
	assert.Empty(e, e.topics(10))
}
