package outboxtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// claimByTopicTests are about Claim with PerTopic.
var claimByTopicTests = map[string]func(*env){
	"Cap":           testTopicCap,
	"Order":         testTopicOrder,
	"AfterTopic":    testAfterTopic,
	"Rotation":      testRotation,
	"OddNames":      testOddTopics,
	"SkipTopics":    testSkipTopics,
	"MaxBytes":      testTopicMaxBytes,
	"SkipScheduled": testTopicSkipScheduled,
	"Lease":         testTopicLease,
	"NotDue":        testTopicNotDue,
	"ManyTopics":    testManyTopics,
	"ManyBytes":     testManyTopicsMaxBytes,
	"ManyScheduled": testManyTopicsScheduled,
	"ManyNotDue":    testManyTopicsNotDue,
	"FarTopic":      testFarTopic,
	"Concurrent":    testConcurrentTopics,
}

// claimTopics claims by topic.
func (e *env) claimTopics(options outbox.ClaimOptions) []outbox.Record {
	e.Helper()
	options.Lease = long
	return e.claimWith(options)
}

// insertedIn inserts n records of each topic, due now, and returns them by topic.
func (e *env) insertedIn(n int, topics ...string) map[string][]outbox.Record {
	e.Helper()
	var all []outbox.Record
	records := make(map[string][]outbox.Record)
	for range n {
		for _, topic := range topics {
			record := e.record(topic)
			records[topic], all = append(records[topic], record), append(all, record)
		}
	}
	e.insert(all...)
	return records
}

// retryAll makes all records due again, in the order of their IDs.
func (e *env) retryAll() {
	e.Helper()
	_, err := e.store.Retry(e.ctx, outbox.Selection{All: true})
	require.NoError(e, err)
}

// topicsOf returns the topics of records, and each topic once for adjacent records.
func topicsOf(records []outbox.Record) []string {
	var topics []string
	for _, record := range records {
		topics = append(topics, record.Topic)
	}
	return slices.Compact(topics)
}

func testTopicCap(e *env) {
	e.opened()
	records := e.insertedIn(5, "b", "a", "c")
	got := e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2})
	assert.Equal(e, ids(slices.Concat(records["a"][:2], records["b"][:2], records["c"][:2])), ids(got))
	got = e.claimTopics(outbox.ClaimOptions{Limit: 5, PerTopic: 2})
	assert.Equal(e, ids(slices.Concat(records["a"][2:4], records["b"][2:4], records["c"][2:3])), ids(got), "Limit ends it within a topic")
	got = e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 100})
	assert.Equal(e, ids(slices.Concat(records["a"][4:], records["b"][4:], records["c"][3:])), ids(got), "a cap that is not reached")
	assert.Empty(e, e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2}))
}

func testTopicOrder(e *env) {
	e.opened()
	// The IDs ascend, and the records are inserted in reverse order.
	var records []outbox.Record
	for range 3 {
		records = append(records, e.record("a"), e.record("b"))
	}
	slices.Reverse(records)
	for _, record := range records {
		e.insert(record)
		e.tick()
	}
	got := e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2})
	want := []outbox.Record{records[1], records[3], records[0], records[2]}
	assert.Equal(e, ids(want), ids(got), "the longest due of each topic first")
}

func testAfterTopic(e *env) {
	e.opened()
	e.insertedIn(2, "a", "c", "e", "g")
	for after, want := range map[string]string{
		"": "a c e g", "a": "c e g a", "c": "e g a c", "d": "e g a c", "g": "a c e g", "h": "a c e g", "A": "a c e g",
	} {
		got := e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 10, AfterTopic: after})
		assert.Equal(e, strings.Fields(want), topicsOf(got), "after %q", after)
		assert.Len(e, got, 8, "each topic once")
		e.retryAll()
	}
	got := e.claimTopics(outbox.ClaimOptions{Limit: 5, PerTopic: 2, AfterTopic: "e"})
	assert.Equal(e, []string{"g", "a", "c"}, topicsOf(got))
	got = e.claimTopics(outbox.ClaimOptions{Limit: 5, PerTopic: 2, AfterTopic: "c"})
	assert.Equal(e, []string{"e", "c"}, topicsOf(got), "the topic itself comes last")
}

func testRotation(e *env) {
	e.opened()
	topics := []string{"a", "b", "c", "d", "e"}
	e.insertedIn(4, topics...)
	after := ""
	for turn := range 20 {
		got := e.claimTopics(outbox.ClaimOptions{Limit: 1, PerTopic: 1, AfterTopic: after})
		require.Len(e, got, 1)
		require.Equal(e, topics[turn%5], got[0].Topic, "turn %d", turn)
		after = got[0].Topic
	}
	assert.Empty(e, e.claimTopics(outbox.ClaimOptions{Limit: 1, PerTopic: 1, AfterTopic: after}))
}

func testOddTopics(e *env) {
	e.opened()
	topics := []string{"orders", "Orders", "orders ", " orders", "it's", `a"b\c`, "größe", "größe2", "{a,b}", "%", "日本", "NULL", "a\nb"}
	e.insertedIn(3, topics...)
	order := topicsOf(e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2}))
	assert.ElementsMatch(e, topics, order)
	for i, after := range order {
		e.retryAll()
		got := e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2, AfterTopic: after, SkipTopics: order[:i]})
		assert.Equal(e, append(slices.Clone(order[i+1:]), after), topicsOf(got), "after %q", after)
		assert.Len(e, got, 2*(len(topics)-i))
	}
}

func testSkipTopics(e *env) {
	e.opened()
	e.insertedIn(2, "a", "b", "c", "d")
	skip := func(limit int, topics ...string) []string {
		return topicsOf(e.claimTopics(outbox.ClaimOptions{Limit: limit, PerTopic: 1, SkipTopics: topics}))
	}
	assert.Equal(e, []string{"b", "d"}, skip(2, "a", "c", "unknown"), "those passed over do not count")
	assert.Equal(e, []string{"a", "c"}, skip(100, "b", "d"))
	assert.Empty(e, skip(100, "d", "c", "b", "a"))
	assert.Equal(e, []string{"a", "b", "c", "d"}, skip(100))
}

func testTopicMaxBytes(e *env) {
	e.opened()
	sizes := []int{100, 100, 100, 5000, 100, 100}
	records := e.records(len(sizes))
	for i, n := range sizes {
		records[i].Topic = string(rune('a' + i/2)) // two for each topic
		records[i].Payload = []byte(`{"x":"` + strings.Repeat("x", n-1-len(records[i].Attributes)-8) + `"}`)
		require.Equal(e, int64(n), records[i].Size())
	}
	e.insert(records...)
	claim := func(maxBytes int64, after string) []string {
		return ids(e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 2, MaxBytes: maxBytes, AfterTopic: after}))
	}
	assert.Equal(e, ids(records[:2]), claim(250, ""), "as many as fit, of one topic")
	assert.Equal(e, ids(records[2:3]), claim(1, ""), "a single record may exceed it")
	assert.Equal(e, ids(records[3:4]), claim(300, ""), "the first comes first, though those of the next topic would fit")
	assert.Equal(e, ids(records[4:6]), claim(200, ""), "the bound itself fits")
	assert.Empty(e, claim(1, ""))

	e.retryAll()
	assert.Equal(e, ids(records[:3]), claim(350, ""), "it ends before the record that exceeds it, though others would fit")
	e.retryAll()
	assert.Equal(e, ids(slices.Concat(records[4:], records[:1])), claim(300, "b"), "bytes count across topics")
	e.retryAll()
	assert.Len(e, claim(0, ""), len(sizes), "zero means no bound")
}

func testTopicSkipScheduled(e *env) {
	e.opened()
	records := e.insertedIn(1, "a", "b", "c")
	scheduled := []outbox.Record{e.record("a"), e.record("b"), e.record("d")}
	for i := range scheduled {
		scheduled[i].DeliverAt = time.Now().Add(long)
	}
	past := e.record("b")
	past.DeliverAt = time.Now().Add(-long)
	e.insert(append(scheduled, past)...)
	got := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 5, SkipScheduled: true})
	want := slices.Concat(records["a"], records["b"], []outbox.Record{past}, records["c"])
	assert.Equal(e, ids(want), ids(got))
	got = e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 5})
	assert.Equal(e, ids(scheduled), ids(got))
}

func testTopicLease(e *env) {
	e.opened()
	e.insertedIn(2, "a", "b")
	before := time.Now()
	got := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 2})
	require.Len(e, got, 4)
	for _, record := range got {
		assert.Equal(e, 1, record.Attempts, "the current claim is counted")
		assert.NotEmpty(e, record.LeaseToken)
		assert.InDelta(e, long.Seconds(), record.DueAt.Sub(before).Seconds(), 60)
		stored := e.find(record.ID)
		assert.Equal(e, record.LeaseToken, stored.LeaseToken)
		assert.Equal(e, 1, stored.Attempts)
		assert.Equal(e, string(stored.Payload), string(record.Payload))
	}
	assert.Empty(e, e.claim(10, long), "hidden from claims by age too")
	e.reschedule(2, change(got[0], 0), change(got[3], 0))
	again := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 2})
	assert.Equal(e, []string{got[0].ID, got[3].ID}, ids(again))
	for _, record := range again {
		assert.Equal(e, 2, record.Attempts)
		assert.NotEqual(e, got[0].LeaseToken, record.LeaseToken)
	}
}

func testTopicNotDue(e *env) {
	e.opened()
	due := e.insertedIn(1, "b", "d")
	dead := e.record("a")
	dead.State = outbox.Dead
	e.insert(dead)
	require.NoError(e, e.store.Insert(e.ctx, long, e.record("a"), e.record("b"), e.record("c"), e.record("e")))
	got := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 5})
	assert.Equal(e, ids(slices.Concat(due["b"], due["d"])), ids(got))
}

// topicNames returns names of topics in order.
func topicNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("topic%04d", i)
	}
	return names
}

func testManyTopics(e *env) {
	e.opened()
	topics := topicNames(600)
	records := e.insertedIn(2, topics...)
	var want []outbox.Record
	for _, topic := range slices.Concat(topics[300:], topics[:300]) {
		want = append(want, records[topic][0])
	}
	got := e.claimTopics(outbox.ClaimOptions{Limit: 1000, PerTopic: 1, AfterTopic: topics[299]})
	assert.Equal(e, ids(want), ids(got))
	got = e.claimTopics(outbox.ClaimOptions{Limit: 1000, PerTopic: 10, AfterTopic: topics[299]})
	assert.Len(e, got, 600)
}

// testManyTopicsMaxBytes puts a large record at each position of a claim of many
// topics.
func testManyTopicsMaxBytes(e *env) {
	e.opened()
	const large = 300
	topics := topicNames(400)
	records := make([]outbox.Record, len(topics))
	for i, topic := range topics {
		records[i] = e.record(topic)
	}
	records[large].Payload = []byte(`{"x":"` + strings.Repeat("x", 5000) + `"}`)
	e.insert(records...)
	for _, before := range []int{1, 31, 32, 100, 127, 128, 129, 256} {
		want := records[large-before : large]
		options := outbox.ClaimOptions{Limit: 1000, PerTopic: 1, AfterTopic: topics[large-before-1], MaxBytes: size(want...) + 1000}
		got := e.claimTopics(options)
		assert.Equal(e, ids(want), ids(got), "the claim ends before the large record, though others would fit")
		options.AfterTopic, options.MaxBytes = topics[large-1], records[large].Size()+3*records[0].Size()
		assert.Equal(e, ids(records[large:large+4]), ids(e.claimTopics(options)))
		e.retryAll()
	}
}

// testManyTopicsScheduled puts many topics with only scheduled records between two
// others: a claim with MaxBytes continues to the second.
func testManyTopicsScheduled(e *env) {
	e.opened()
	topics := topicNames(100)
	records := make([]outbox.Record, len(topics))
	for i, topic := range topics {
		records[i] = e.record(topic)
		if i > 0 && i < 99 {
			records[i].DeliverAt = time.Now().Add(long)
		}
	}
	e.insert(records...)
	got := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 5, MaxBytes: 1_000_000, SkipScheduled: true})
	assert.Equal(e, []string{topics[0], topics[99]}, topicsOf(got))
}

func testManyTopicsNotDue(e *env) {
	e.opened()
	topics := topicNames(700)
	var waiting []outbox.Record
	for _, topic := range topics {
		waiting = append(waiting, e.record(topic))
	}
	require.NoError(e, e.store.Insert(e.ctx, long, waiting...))
	claim := func(after string) []outbox.Record {
		return e.claimTopics(outbox.ClaimOptions{Limit: 100, PerTopic: 2, AfterTopic: after})
	}
	assert.Empty(e, claim(""))
	records := e.insertedIn(3, topics[10], topics[400], topics[650])
	got := claim(topics[450])
	assert.Equal(e, []string{topics[650], topics[10], topics[400]}, topicsOf(got), "in their order, as they are few")
	assert.Len(e, got, 6)
	assert.Equal(e, ids(slices.Concat(records[topics[10]][2:], records[topics[400]][2:], records[topics[650]][2:])), ids(claim("")))
	assert.Empty(e, claim(""))
}

// testFarTopic has a topic with many due records, another with a few later ones, and
// between them hundreds of topics without due records.
func testFarTopic(e *env) {
	e.opened()
	topics := topicNames(900)
	var waiting []outbox.Record
	for _, topic := range topics {
		waiting = append(waiting, e.record(topic))
	}
	require.NoError(e, e.store.Insert(e.ctx, long, waiting...))
	e.insertedIn(600, topics[0])
	e.tick()
	late := e.insertedIn(1, topics[600])[topics[600]][0]
	skipped := e.claimTopics(outbox.ClaimOptions{Limit: 1, PerTopic: 1, SkipTopics: topics[:1]})
	assert.Equal(e, []string{late.ID}, ids(skipped), "it is found where there is nothing else to claim")
	e.reschedule(1, change(skipped[0], 0))
	for turn := range 10 {
		got := e.claimTopics(outbox.ClaimOptions{Limit: 10, PerTopic: 5, AfterTopic: topics[0]})
		require.NotEmpty(e, got)
		if indexOf(got, late.ID) >= 0 {
			return
		}
		require.Less(e, turn, 9, "a topic is visited within some claims")
	}
}

func testConcurrentTopics(e *env) {
	e.opened()
	topics := []string{"a", "b", "c", "d", "e"}
	e.insertedIn(100, topics...)
	got := e.claimedByMany(16, func(claimer, turn int) outbox.ClaimOptions {
		return outbox.ClaimOptions{Limit: 7, PerTopic: 3, AfterTopic: topics[(claimer+turn)%5], Lease: long}
	})
	// A store may skip records that another claim is taking at the same moment.
	got = append(got, ids(e.claimTopics(outbox.ClaimOptions{Limit: 500, PerTopic: 500}))...)
	e.claimedOnce(ids(e.all()), got)
}
