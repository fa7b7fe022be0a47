package postofficetest_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// shelf keeps records as a program would.
type shelf map[postofficetest.RecordKey]string

func (s shelf) apply(changes postofficetest.Changes) {
	if changes.All {
		clear(s)
	}
	for _, record := range changes.Records {
		s[record.RecordKey] = string(record.Data)
	}
	for _, key := range changes.Forgotten {
		delete(s, key)
	}
}

func (s shelf) records() []postofficetest.Record {
	var records []postofficetest.Record
	for key, data := range s {
		records = append(records, postofficetest.Record{RecordKey: key, Data: []byte(data)})
	}
	return records
}

// restored starts a server with the records.
func restored(t *testing.T, s shelf, options ...postofficetest.Option) *postofficetest.Server {
	t.Helper()
	return postofficetest.Start(t, append(options, postofficetest.WithRecords(s.records()))...)
}

func TestJournal(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	server := postofficetest.Start(t, postofficetest.WithNow(now))
	journal, kept := server.Operator().Journal(), shelf{}
	step := func() postofficetest.Changes {
		changes := journal.Changes()
		kept.apply(changes)
		return changes
	}
	assert.True(t, step().All)
	assert.True(t, step().None())

	var status atomic.Int32
	status.Store(503)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	addTopic(t, server, "orders", consumer.URL, consumer.URL+"/deleted")
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "t", Type: postofficetest.TypePubSub, ChunkSize: 2, Timeout: 7 * time.Second})
	require.NoError(t, err)
	addTopic(t, server, "lonely")
	assert.Len(t, step().Records, 5)
	post(t, server, wire.MessagePath, `{"topic":"orders","payload":{"k":  1, "k":2},"attributes":{},"target":"`+consumer.URL+`/elsewhere"}`)
	post(t, server, wire.MessagePath, `{"topic":"orders"}`)
	post(t, server, wire.BulkPath, `{"topic":"orders","payload":[{"n":1},{"n":2},{"n":3}],"attributes":{"a":"b"}}`)
	post(t, server, wire.SchedulePath, `{"topic":"orders","payload":{},"attributes":{},"schedule_at":"2030-01-01T02:00:00Z"}`)
	publish(t, server, "lonely", `{}`)
	require.NoError(t, server.WaitIdle(limited(t)))
	step()
	server.SetPaused(1, true)
	post(t, server, wire.ConsumersPath+"/2", `{"_method":"delete"}`)
	assert.Len(t, step().Records, 2, "two consumers")
	server.Advance(20 * time.Second) // the deleted one's are discarded
	server.SetPaused(1, false)
	server.Advance(30 * time.Second)
	step()
	assert.True(t, step().None())

	again := restored(t, kept, postofficetest.WithNow(server.Now()))
	assert.Equal(t, server.Topics(), again.Topics())
	assert.Equal(t, server.Consumers(), again.Consumers())
	assert.Equal(t, server.Messages(), again.Messages())
	assert.Equal(t, server.Jobs(), again.Jobs())
	assert.Equal(t, server.Operator().MessageCounts(), again.Operator().MessageCounts())
	was, is := server.Deliveries(), again.Deliveries()
	require.Len(t, is, len(was))
	for i := range was {
		assert.Equal(t, fmt.Sprint(was[i]), fmt.Sprint(is[i]))
	}
	assert.Equal(t, kept, func() shelf {
		other := shelf{}
		other.apply(again.Operator().Journal().Changes())
		return other
	}(), "the records are the same again")

	// Both go on alike, but for the ids of new jobs.
	status.Store(200)
	server.Close()
	again.Advance(3 * time.Hour)
	for _, job := range again.Jobs() {
		assert.NotEqual(t, postofficetest.Pending, job.State, "job %d", job.ID)
	}
	assert.Contains(t, targetsOf(again.Deliveries()), consumer.URL+"/elsewhere")
	publish(t, again, "orders", `{}`)
	messages := again.Messages()
	assert.Equal(t, int64(8), messages[len(messages)-1].Number)
	assert.Equal(t, []int64{20002, 20001}, messages[len(messages)-1].JobIDs)
	id, err := again.AddConsumer(postofficetest.Consumer{Topic: "lonely", Target: "x"})
	require.NoError(t, err)
	assert.Equal(t, int64(4), id)
	require.ErrorContains(t, again.AddTopic(postofficetest.Topic{Name: "orders"}), "taken")
}

func targetsOf(deliveries []postofficetest.Delivery) []string {
	var targets []string
	for _, delivery := range deliveries {
		targets = append(targets, delivery.Target)
	}
	return targets
}

// The records are bounded as the server's memory is, and are in step with
// each other whenever one looks.
func TestJournalForgets(t *testing.T) {
	for _, every := range []int{1, 7, 1000} {
		t.Run(fmt.Sprintf("looking after every %d", every), func(t *testing.T) {
			server := postofficetest.Start(t, postofficetest.WithHistory(5), postofficetest.WithNow(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
			journal, kept := server.Operator().Journal(), shelf{}
			addTopic(t, server, "good", newPeer(t, nil).URL)
			addTopic(t, server, "bad", "http://127.0.0.1:1/")
			for i := range 60 {
				publish(t, server, map[bool]string{true: "bad", false: "good"}[i%15 == 0], `{}`)
				if i%every == 0 {
					kept.apply(journal.Changes())
				}
			}
			require.NoError(t, server.WaitForDeliveries(limited(t), 60))
			require.NoError(t, server.WaitIdle(limited(t)))
			kept.apply(journal.Changes())
			fresh := shelf{}
			fresh.apply(server.Operator().Journal().Changes())
			assert.Equal(t, fresh, kept)
			assert.Less(t, len(kept), 50)

			again := restored(t, kept, postofficetest.WithHistory(5), postofficetest.WithNow(server.Now()))
			assert.Equal(t, 4, again.Operator().ConsumerTotals()[2].Waiting, "what is to be delivered is not forgotten")
			was, is := server.Messages(), again.Messages()
			require.GreaterOrEqual(t, len(is), len(was), "and perhaps one that an attempt was about")
			assert.Equal(t, was, is[len(is)-len(was):])
			assert.Equal(t, server.Operator().MessageCounts(), again.Operator().MessageCounts())
			publish(t, again, "good", `{}`)
			require.NoError(t, again.WaitIdle(limited(t)))
			attempts := again.Operator().RecentAttempts(0, 1, nil)
			assert.Equal(t, int64(61), attempts[0].Number)
		})
	}
}

// A delivery that was under way is made again: nobody knows how it ended.
func TestJournalOfOneUnderWay(t *testing.T) {
	server := postofficetest.Start(t)
	hold, holding := make(chan struct{}), make(chan struct{}, 2)
	consumer := newPeer(t, func(http.ResponseWriter, *http.Request) {
		holding <- struct{}{}
		<-hold
	})
	addTopic(t, server, "orders", consumer.URL)
	publish(t, server, "orders", `{}`)
	<-holding
	kept := shelf{}
	kept.apply(server.Operator().Journal().Changes())
	again := restored(t, kept)
	<-holding
	close(hold)
	require.NoError(t, again.WaitIdle(limited(t)))
	assert.Equal(t, postofficetest.Delivered, again.Jobs()[0].State)
	assert.Equal(t, "1", consumer.requests()[1].header.Get(wire.MessageIDHeader))
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	record := func(kind postofficetest.Kind, number int64, data string) postofficetest.Record {
		return postofficetest.Record{RecordKey: postofficetest.RecordKey{Kind: kind, Number: number}, Data: []byte(data)}
	}
	topic := record(postofficetest.TopicRecord, 1, `{"Name":"t"}`)
	consumer := record(postofficetest.ConsumerRecord, 1, `{"Topic":"t","Type":"http","Target":"http://127.0.0.1:1/"}`)
	message := record(postofficetest.MessageRecord, 1, `{"Topic":"t","Payload":"[]","Attributes":"{}"}`)
	for want, records := range map[string][]postofficetest.Record{
		"postofficetest: topic 2 cannot be restored: has already been taken": {topic, record(postofficetest.TopicRecord, 2, `{"Name":"t"}`)},
		"unexpected end of JSON input":                                       {record(postofficetest.TopicRecord, 1, ``)},
		"consumer 1 cannot be restored: unknown topic":                       {consumer},
		"payload or attributes are not JSON":                                 {topic, record(postofficetest.MessageRecord, 1, `{"Topic":"t","Payload":"{"}`)},
		"job 1 cannot be restored: message 7 is missing":                     {topic, consumer, record(postofficetest.JobRecord, 1, `{"Messages":[7],"Consumer":1}`)},
		"consumer or messages are missing":                                   {topic, consumer, record(postofficetest.JobRecord, 1, `{"Consumer":1}`)},
		"it cannot be delivered, and should not be pending":                  {topic, consumer, message, record(postofficetest.JobRecord, 1, `{"Messages":[1],"Consumer":1}`)},
		"attempt 1 cannot be restored: message 7 is missing":                 {topic, record(postofficetest.AttemptRecord, 1, `{"Message":7}`)},
		"unknown kind of record":                                             {record("parcel", 1, `{}`)},
	} {
		_, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRecords(records))
		assert.ErrorContains(t, err, want)
	}
}
