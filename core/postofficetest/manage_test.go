package postofficetest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestErrTaken(t *testing.T) {
	server := postofficetest.Start(t)
	topic := postofficetest.Topic{Name: "orders", OriginHost: "http://127.0.0.1:1/"}
	require.NoError(t, server.AddTopic(topic))
	require.ErrorIs(t, server.AddTopic(topic), postofficetest.ErrTaken)
	consumer := postofficetest.Consumer{Topic: "orders", Target: "http://127.0.0.1:1/"}
	id, err := server.AddConsumer(consumer)
	require.NoError(t, err)
	require.True(t, server.Operator().DeleteConsumer(id))
	_, err = server.AddConsumer(consumer)
	require.ErrorIs(t, err, postofficetest.ErrTaken, "though it was deleted")
}

func TestUpdateConsumer(t *testing.T) {
	server := postofficetest.Start(t)
	before := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	after := newPeer(t, nil)
	addTopic(t, server, "orders", before.URL, "http://127.0.0.1:1/")
	publish(t, server, "orders", `{"n":1}`)
	require.NoError(t, server.WaitIdle(limited(t)))
	operator := server.Operator()
	journal := operator.Journal()
	journal.Changes()

	require.NoError(t, operator.UpdateConsumer(postofficetest.Consumer{ID: 1, Target: after.URL, Timeout: 7 * time.Second, Topic: "other", Type: "other"}))
	got := server.Consumers()[0]
	assert.Equal(t, postofficetest.Consumer{ID: 1, Topic: "orders", Target: after.URL, Type: postofficetest.TypeHTTP, Timeout: 7 * time.Second, ChunkSize: 20}, got)
	assert.Equal(t, before.URL, operator.JobStatuses([]int64{1})[0].Target)
	publish(t, server, "orders", `{"n":2}`)
	require.NoError(t, server.WaitIdle(limited(t)))
	require.Len(t, after.requests(), 1)
	assert.JSONEq(t, `{"n":2,"attributes":{"a":"b"}}`, after.requests()[0].body)
	tried := len(before.requests())
	server.Advance(time.Minute)
	assert.Greater(t, len(before.requests()), tried, "a job keeps its target")
	assert.Len(t, after.requests(), 1)

	// So it does in another server that continues.
	kept := postofficetest.Start(t, postofficetest.WithRecords(server.Operator().Journal().Changes().Records))
	tried = len(before.requests())
	kept.Advance(time.Hour)
	assert.Greater(t, len(before.requests()), tried)
	assert.Len(t, after.requests(), 1)
	recorded := ""
	for _, record := range journal.Changes().Records {
		recorded += string(record.Data)
	}
	assert.Contains(t, recorded, before.URL, "a journal tells of it")

	require.NoError(t, operator.UpdateConsumer(postofficetest.Consumer{ID: 1, Target: after.URL, Timeout: time.Second, Paused: true}))
	publish(t, server, "orders", `{"n":3}`)
	server.Advance(time.Minute)
	assert.Len(t, after.requests(), 1, "it is paused")
	require.NoError(t, operator.UpdateConsumer(postofficetest.Consumer{ID: 1, Target: after.URL, Timeout: time.Second}))
	server.Advance(time.Minute)
	assert.Len(t, after.requests(), 2)

	for want, changed := range map[error]postofficetest.Consumer{
		postofficetest.ErrNoConsumer: {ID: 7, Target: "http://127.0.0.1:2/"},
		postofficetest.ErrTaken:      {ID: 1, Target: "http://127.0.0.1:1/"},
	} {
		require.ErrorIs(t, operator.UpdateConsumer(changed), want)
	}
	require.ErrorContains(t, operator.UpdateConsumer(postofficetest.Consumer{ID: 1, Target: strings.Repeat("x", 256)}), "too long")
	require.True(t, operator.DeleteConsumer(1))
	require.ErrorIs(t, operator.UpdateConsumer(got), postofficetest.ErrNoConsumer)
}

func TestDeleteConsumer(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitIdle(limited(t)))
	operator := server.Operator()
	require.True(t, operator.DeleteConsumer(1))
	require.False(t, operator.DeleteConsumer(1))
	require.False(t, operator.DeleteConsumer(2))
	server.Advance(time.Minute)
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Equal(t, postofficetest.Discarded, server.Jobs()[0].State)
	assert.Len(t, server.Deliveries(), 1)
	ids, err := operator.Publish("orders", []byte(`{}`), []byte(`{}`))
	require.NoError(t, err)
	assert.Empty(t, ids)
}

func TestCancelJob(t *testing.T) {
	server := postofficetest.Start(t)
	hold, holding := make(chan struct{}), make(chan struct{}, 1)
	status := make(chan int, 1)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		holding <- struct{}{}
		<-hold
		w.WriteHeader(<-status)
	})
	addTopic(t, server, "orders", consumer.URL)
	operator := server.Operator()
	publish(t, server, "orders", `{}`)
	<-holding
	require.ErrorIs(t, operator.CancelJob(1), postofficetest.ErrUnderWay)
	status <- 500
	close(hold)
	require.NoError(t, server.WaitIdle(limited(t)))
	require.NoError(t, operator.CancelJob(1))
	require.ErrorIs(t, operator.CancelJob(1), postofficetest.ErrSettled)
	require.ErrorIs(t, operator.RetryNow(1), postofficetest.ErrSettled)
	require.ErrorIs(t, operator.CancelJob(7), postofficetest.ErrNoJob)
	assert.Equal(t, postofficetest.Cancelled, server.Jobs()[0].State)
	assert.Equal(t, "cancelled", postofficetest.Cancelled.String())
	assert.Equal(t, map[int64]postofficetest.Totals{1: {Cancelled: 1}}, operator.ConsumerTotals())
	server.Advance(100 * 24 * time.Hour)
	assert.Len(t, consumer.requests(), 1)

	_, answer := post(t, server, wire.SchedulePath, `{"topic":"orders","payload":{},"attributes":{},"schedule_at":"2099-01-01T00:00:00Z"}`)
	require.JSONEq(t, `{"id":[2]}`, answer)
	require.NoError(t, operator.CancelJob(2), "a scheduled one")
	kept := postofficetest.Start(t, postofficetest.WithRecords(operator.Journal().Changes().Records))
	assert.Equal(t, postofficetest.Cancelled, kept.Jobs()[1].State)
}
