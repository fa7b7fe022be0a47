package postofficetest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func numbersOf(messages []postofficetest.Message) []int64 {
	var numbers []int64
	for _, message := range messages {
		numbers = append(numbers, message.Number)
	}
	return numbers
}

func TestRecent(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithHistory(5))
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	addTopic(t, server, "bills")
	for i := range 12 {
		publish(t, server, []string{"orders", "bills"}[i%2], fmt.Sprintf(`{"n":%d}`, i+1))
	}
	require.NoError(t, server.WaitForDeliveries(limited(t), 6))
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Equal(t, []int64{12, 11, 10}, numbersOf(server.Operator().RecentMessages(0, 3, nil)))
	assert.Equal(t, []int64{9, 8, 7, 6}, numbersOf(server.Operator().RecentMessages(10, 100, nil)), "older ones are forgotten")
	assert.Equal(t, []int64{11, 9}, numbersOf(server.Operator().RecentMessages(0, 2, func(m postofficetest.Message, _ []postofficetest.Job) bool { return m.Topic == "orders" })))
	delivered := func(m postofficetest.Message, jobs []postofficetest.Job) bool {
		return len(jobs) == 1 && jobs[0].ID == m.JobIDs[0] && jobs[0].State == postofficetest.Delivered
	}
	assert.Equal(t, []int64{11, 9}, numbersOf(server.Operator().RecentMessages(12, 2, delivered)))
	assert.Equal(t, map[string]int{"orders": 6, "bills": 6}, server.Operator().MessageCounts(), "forgotten ones are counted")

	message, found := server.Operator().MessageNumbered(11)
	require.True(t, found)
	assert.JSONEq(t, `{"n":11}`, string(message.Payload))
	for _, number := range []int64{0, 1, 13} {
		_, found := server.Operator().MessageNumbered(number)
		assert.False(t, found, number)
	}

	attempts := server.Operator().RecentAttempts(0, 100, nil)
	require.Len(t, attempts, 6)
	for i, made := range attempts {
		assert.Equal(t, int64(6-i), made.Number)
		assert.Nil(t, made.Body)
		assert.Equal(t, 200, made.Status)
	}
	attempts = server.Operator().RecentAttempts(5, 2, func(a postofficetest.Attempt) bool { return a.Number%2 == 0 })
	require.Len(t, attempts, 2)
	assert.Equal(t, []int64{4, 2}, []int64{attempts[0].Number, attempts[1].Number})
	// Deliveries end in any order, and the earlier messages are forgotten.
	attempts = server.Operator().RecentAttempts(0, 100, func(a postofficetest.Attempt) bool { return a.Message == 11 })
	require.Len(t, attempts, 1)
	assert.Equal(t, []int64{attempts[0].JobID}, message.JobIDs)
	assert.Empty(t, server.Operator().RecentRuns(3))
	origin := newOrigin(t)
	recovering(t, server, origin.URL+"/o/")
	for range 3 {
		server.RunRescuer(limited(t))
	}
	assert.Len(t, server.Operator().RecentRuns(2), 2)
}

// A message that waits for its delivery is found although the history has grown.
func TestRecentOfOldJobs(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithHistory(2))
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	for range 9 {
		publish(t, server, "orders", `{}`)
	}
	require.NoError(t, server.WaitForDeliveries(limited(t), 9))
	require.NoError(t, server.WaitIdle(limited(t)))
	message, found := server.Operator().MessageNumbered(1)
	require.True(t, found)
	assert.Equal(t, []int64{1}, message.JobIDs)
	assert.Equal(t, 1, server.Operator().JobStatuses([]int64{1})[0].Attempts)
	assert.Equal(t, 9, server.Operator().ConsumerTotals()[1].Waiting)
	require.NoError(t, server.Operator().RetryNow(1))
	require.NoError(t, server.WaitForDeliveries(limited(t), 10))
}

func TestPublicAddresses(t *testing.T) {
	assert.Equal(t, "http://h/p", postofficetest.Consumer{Target: "http://user:secret@h/p"}.PublicTarget())
	assert.Equal(t, "http://h/o/", postofficetest.Topic{OriginHost: "http://user:secret@h/o/"}.PublicOriginHost())
}

// A function that selects messages or attempts may take long: the server continues, and
// answers its calls.
func TestRecentSelectWithoutBlocking(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", newPeer(t, nil).URL)
	for range 450 {
		publish(t, server, "orders", `{}`)
	}
	require.NoError(t, server.WaitForDeliveries(limited(t), 450))
	answers := func() bool {
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Topics()
		}()
		select {
		case <-done:
			return true
		case <-limited(t).Done():
			return false
		}
	}
	var numbers []int64
	messages := server.Operator().RecentMessages(0, 500, func(m postofficetest.Message, _ []postofficetest.Job) bool {
		numbers = append(numbers, m.Number)
		return m.Number%100 == 0 && assert.True(t, answers())
	})
	assert.Equal(t, []int64{400, 300, 200, 100}, numbersOf(messages))
	assert.Len(t, numbers, 450, "each is visited once")
	numbers = nil
	attempts := server.Operator().RecentAttempts(0, 500, func(a postofficetest.Attempt) bool {
		numbers = append(numbers, a.Number)
		return a.Number%200 == 0 && assert.True(t, answers())
	})
	require.Len(t, attempts, 2)
	assert.Equal(t, []int64{400, 200}, []int64{attempts[0].Number, attempts[1].Number})
	assert.Len(t, numbers, 450)
	assert.Empty(t, server.Operator().RecentAttempts(1, 10, nil))
	assert.Empty(t, server.Operator().RecentMessages(1, 10, nil))
	assert.Empty(t, server.Operator().RecentMessages(-1, 10, nil))
	assert.Len(t, server.Operator().RecentAttempts(1<<62, 10, nil), 10)
}
