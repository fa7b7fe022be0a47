package postofficetest_test

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestDelivery(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	target := strings.Replace(consumer.URL, "http://", "http://us%40er:p%3Ass%20w@", 1) + "/d/auth?r=1"
	addTopic(t, server, "orders", target)
	publish(t, server, "orders", `{"k": 1, "attributes": {"mine": true}, "text": "é<>&", "k": 2}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))

	requests := consumer.requests()
	require.Len(t, requests, 1)
	got := requests[0]
	assert.Equal(t, "POST", got.method)
	assert.Equal(t, "/d/auth?r=1", got.uri)
	const arrives = `{"text":"é<>&","k":1,"attributes":{"a":"b"}}`
	assert.JSONEq(t, arrives, got.body)
	assert.Len(t, got.body, len(arrives), "no white space, no HTML escapes")
	assert.Equal(t, int64(len(got.body)), got.length)
	assert.Equal(t, http.Header{
		"Message-Id":     {"1"},
		"Content-Type":   {"application/json"},
		"Content-Length": {strconv.Itoa(len(got.body))},
		"User-Agent":     {"hackney/1.18.1"},
		"Authorization":  {"Basic " + base64.StdEncoding.EncodeToString([]byte("us@er:p:ss w"))},
	}, got.header)

	deliveries := server.Deliveries()
	require.Len(t, deliveries, 1)
	assert.True(t, deliveries[0].Acknowledged())
	assert.Equal(t, got.body, string(deliveries[0].Body))
	assert.Equal(t, consumer.URL+"/d/auth?r=1", deliveries[0].Target, "the target is shown without userinfo")
	assert.Equal(t, postofficetest.Delivered, server.Jobs()[0].State)
}

func TestDeliveryNumbers(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "numbers", consumer.URL)
	publish(t, server, "numbers", `{"big":123456789012345678901234567890,"f":1.0,"e":1e3,"d":12345678901234567890.123,"i":-0,"z":-0.0,"p":0.1,"long":3.14159265358979323846,"s":1e-7}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	assert.Equal(t, `{"z":0.0,"s":1e-07,"p":0.1,"long":3.141592653589793,"i":0,"f":1.0,"e":1000,`+
		`"d":12345678901234567000,"big":123456789012345678901234567890,"attributes":{"a":"b"}}`, consumer.requests()[0].body)
}

func TestDeliveryRetries(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"301": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		},
		"404": http.NotFound,
		"429": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t)
			var calls atomic.Int32
			consumer := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) < 4 {
					answer(w, r)
				}
			})
			addTopic(t, server, "orders", consumer.URL)
			publish(t, server, "orders", `{}`)
			start := server.Now()
			server.Advance(16*time.Second - 1)
			require.Len(t, server.Deliveries(), 1)
			server.Advance(time.Hour)

			deliveries := server.Deliveries()
			require.Len(t, deliveries, 4)
			for i, after := range []time.Duration{0, 16, 32, 49} {
				assert.Equal(t, after*time.Second, deliveries[i].StartedAt.Sub(start), "attempt %d", i+1)
				assert.Equal(t, i+1, deliveries[i].Attempt)
				assert.Equal(t, i == 3, deliveries[i].Acknowledged())
			}
			for _, request := range consumer.requests() {
				assert.Equal(t, "1", request.header.Get(wire.MessageIDHeader))
				assert.Equal(t, "/", request.uri, "redirects are not followed")
			}
		})
	}
}

func TestDeliveryGivesUp(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	publish(t, server, "orders", `{}`)
	server.Advance(80 * 24 * time.Hour)
	require.Equal(t, postofficetest.Pending, server.Jobs()[0].State)
	server.Advance(6 * 24 * time.Hour)
	assert.Len(t, server.Deliveries(), 100)
	assert.Equal(t, postofficetest.GivenUp, server.Jobs()[0].State)
	assert.ErrorContains(t, server.Deliveries()[99].Err, "refused")
}

func TestDeliveryTimeout(t *testing.T) {
	// A second lasts 20 ms, so the timeouts are 100 ms, 20 ms and 600 ms.
	server := postofficetest.Start(t, postofficetest.WithSecond(20*time.Millisecond))
	hanging := newPeer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	addTopic(t, server, "orders")
	for i, timeout := range []string{``, `,"seconds_timeout":1`, `,"seconds_timeout":null`, `,"seconds_timeout":0`} {
		status, answer := post(t, server, wire.ConsumersPath,
			`{"topic":"orders","target":"`+hanging.URL+`/`+strconv.Itoa(i)+`","type":"http","active":true`+timeout+`}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	var timeouts []time.Duration
	for _, consumer := range server.Consumers() {
		timeouts = append(timeouts, consumer.Timeout)
	}
	assert.Equal(t, []time.Duration{5 * time.Second, time.Second, 30 * time.Second, 0}, timeouts)

	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 4))
	for _, delivery := range server.Deliveries() {
		assert.False(t, delivery.Acknowledged())
		assert.Zero(t, delivery.Status)
		require.Error(t, delivery.Err)
	}
	assert.Len(t, hanging.requests(), 3)
}

func TestUndeliverable(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	for _, rest := range []string{
		`"payload":[1],"attributes":{}`, `"payload":"x","attributes":{}`, `"payload":null,"attributes":{}`,
		`"attributes":{}`, `"payload":{}`,
	} {
		status, answer := post(t, server, wire.MessagePath, `{"topic":"orders",`+rest+`}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	status, _ := post(t, server, wire.MessagePath, `{"topic":"orders","payload":{"n":1},"attributes":null}`)
	require.Equal(t, http.StatusCreated, status)
	server.Advance(time.Hour)

	requests := consumer.requests()
	require.Len(t, requests, 1, "only null attributes arrive")
	assert.Equal(t, `{"n":1,"attributes":null}`, requests[0].body)
	for _, job := range server.Jobs()[:5] {
		assert.Equal(t, postofficetest.Undeliverable, job.State)
	}
}

func TestThrownAway(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	publish(t, server, "orders", `{"n":1}`)
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "http://127.0.0.1:1/"})
	require.NoError(t, err)
	publish(t, server, "orders", `{"n":2}`)
	lost := server.ThrownAway()
	require.Len(t, lost, 1)
	assert.JSONEq(t, `{"n":1}`, string(lost[0].Payload))
	assert.Len(t, server.Messages(), 2)
}

func TestOverrides(t *testing.T) {
	server := postofficetest.Start(t)
	registered, other := newPeer(t, nil), newPeer(t, nil)
	addTopic(t, server, "orders", registered.URL)
	for path, payload := range map[string]string{wire.MessagePath: `{}`, wire.BulkPath: `[{}]`, wire.SchedulePath: `{}`} {
		status, answer := post(t, server, path, `{"topic":"orders","payload":`+payload+
			`,"attributes":{},"schedule_at":"2001-01-01T00:00:00Z","target":"`+other.URL+`/`+strings.TrimPrefix(path, "/api/")+`"}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	require.NoError(t, server.WaitIdle(limited(t)))
	require.Len(t, other.requests(), 1)
	assert.Equal(t, "/messages", other.requests()[0].uri)
	assert.Len(t, registered.requests(), 2)
}

func TestScheduled(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 0, 0, 0, time.UTC)
	server := postofficetest.Start(t, postofficetest.WithNow(now))
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	for _, at := range []string{"2030-01-02T05:00:10+02:00", "2030-01-02T03:00:05Z", "2001-01-01T00:00:00Z"} {
		status, answer := post(t, server, wire.SchedulePath, `{"topic":"orders","payload":{"at":"`+at+`"},"attributes":{},"schedule_at":"`+at+`"}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	require.NoError(t, server.WaitIdle(limited(t)))
	require.Len(t, consumer.requests(), 1, "the past one goes at once")
	server.Advance(5*time.Second - 1)
	require.Len(t, consumer.requests(), 1)
	server.Advance(time.Minute)

	deliveries := server.Deliveries()
	require.Len(t, deliveries, 3)
	assert.Equal(t, now.Add(5*time.Second), deliveries[1].StartedAt)
	assert.Equal(t, now.Add(10*time.Second), deliveries[2].StartedAt.UTC())
	message := server.Messages()[0]
	assert.Equal(t, postofficetest.Scheduled, message.Via)
	assert.True(t, now.Add(10*time.Second).Equal(message.DeliverAt))
}

func TestPubSubConsumersGetJobsAndNothingIsSent(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "gcp", Type: postofficetest.TypePubSub, ChunkSize: 2})
	require.NoError(t, err)
	status, answer := post(t, server, wire.BulkPath, `{"topic":"orders","payload":[{"n":1},{"n":2},{"n":3}],"attributes":{}}`)
	require.Equal(t, http.StatusCreated, status)
	assert.JSONEq(t, `{"result":[2,1]}`, answer)
	server.Advance(time.Hour)
	assert.Empty(t, server.Deliveries())
	jobs := server.Jobs()
	require.Len(t, jobs, 2)
	assert.Equal(t, []int{2, 1}, []int{jobs[0].Messages, jobs[1].Messages})
	assert.Equal(t, postofficetest.Kept, jobs[0].State)
	for i, want := range []int64{1, 1, 2} {
		assert.Equal(t, []int64{want}, server.Messages()[i].JobIDs)
		assert.Equal(t, postofficetest.Bulk, server.Messages()[i].Via)
	}
}

func TestPausedAndDeletedConsumers(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders")
	paused, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: consumer.URL + "/paused", Paused: true})
	require.NoError(t, err)
	doomed, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "http://127.0.0.1:1/"})
	require.NoError(t, err)
	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))

	deleted := send(t, newClient(t), http.MethodDelete, server.URL()+wire.ConsumersPath+"/"+strconv.FormatInt(doomed, 10), "", "")
	require.Equal(t, http.StatusNoContent, deleted.status)
	server.Advance(time.Hour)
	assert.Len(t, server.Deliveries(), 1, "the paused one waits, the deleted one gets no retry")
	assert.Equal(t, postofficetest.Discarded, server.Jobs()[1].State)

	require.True(t, server.SetPaused(paused, false))
	server.Advance(30 * time.Second)
	assert.Len(t, consumer.requests(), 1)
	publish(t, server, "orders", `{}`)
	assert.Len(t, server.Messages()[1].JobIDs, 1, "deleted consumers get no job")
	assert.False(t, server.SetPaused(99, true))

	_, err = server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "http://127.0.0.1:1/"})
	require.ErrorContains(t, err, "already been taken")
}

// TestInactiveConsumers are created by the API. A server that began without
// such a consumer does not heed them, nor that they are deleted.
func TestInactiveConsumers(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	addTopic(t, server, "orders")
	add := func(server *postofficetest.Server, path string) {
		t.Helper()
		status, answer := post(t, server, wire.ConsumersPath, `{"topic":"orders","target":"`+consumer.URL+path+`","type":"http","active":false}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	add(server, "/first")
	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	require.True(t, server.Consumers()[0].Paused)
	require.False(t, server.Consumers()[0].Heeded)
	require.NoError(t, server.WaitIdle(limited(t)))
	require.NoError(t, server.Operator().RetryNow(1), "nothing is paused")
	deleted := send(t, newClient(t), http.MethodDelete, server.URL()+wire.ConsumersPath+"/1", "", "")
	require.Equal(t, http.StatusNoContent, deleted.status)
	require.NoError(t, server.WaitIdle(limited(t)))
	server.Advance(time.Minute)
	made := len(server.Deliveries())
	require.Greater(t, made, 2, "retries go on")

	// After a restart they wait, and so do those that come then.
	server = postofficetest.Start(t, postofficetest.WithRecords(server.Operator().Journal().Changes().Records), postofficetest.WithNow(server.Now()))
	add(server, "/second")
	publish(t, server, "orders", `{}`)
	server.Advance(time.Hour)
	assert.Len(t, server.Deliveries(), made)
	jobs := server.Jobs()
	assert.Equal(t, postofficetest.Discarded, jobs[0].State)
	assert.Equal(t, postofficetest.Pending, jobs[1].State)
	assert.ErrorIs(t, server.Operator().RetryNow(jobs[1].ID), postofficetest.ErrPaused)
	require.True(t, server.SetPaused(2, false))
	require.NoError(t, server.Operator().RetryNow(jobs[1].ID))
	require.NoError(t, server.WaitForDeliveries(limited(t), made+1))
}

// TestPauseIsHeeded has an operator pause a consumer; from then on the server
// heeds inactive consumers.
func TestPauseIsHeeded(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	require.True(t, server.SetPaused(1, true))
	status, answer := post(t, server, wire.ConsumersPath, `{"topic":"orders","target":"`+consumer.URL+`/second","type":"http"}`)
	require.Equal(t, http.StatusCreated, status, answer)
	publish(t, server, "orders", `{}`)
	server.Advance(time.Hour)
	assert.Empty(t, server.Deliveries())
	require.True(t, server.SetPaused(2, false))
	server.Advance(time.Minute)
	assert.Len(t, server.Deliveries(), 1)
}

// A consumer that is slow holds back nothing but its share of the 50
// deliveries that may be under way.
func TestDeliveriesUnderWay(t *testing.T) {
	server := postofficetest.Start(t)
	release, arrived := make(chan struct{}), make(chan struct{}, 120)
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	var under, most atomic.Int32
	consumer := newPeer(t, func(http.ResponseWriter, *http.Request) {
		now := under.Add(1)
		defer under.Add(-1)
		for {
			before := most.Load()
			if now <= before || most.CompareAndSwap(before, now) {
				break
			}
		}
		arrived <- struct{}{}
		<-release
	})
	addTopic(t, server, "orders", consumer.URL)
	status, _ := post(t, server, wire.BulkPath, `{"topic":"orders","payload":[`+strings.TrimSuffix(strings.Repeat(`{},`, 120), ",")+`],"attributes":{}}`)
	require.Equal(t, http.StatusCreated, status)
	for range 50 {
		<-arrived
	}
	letGo()
	require.NoError(t, server.WaitForDeliveries(limited(t), 120))
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.LessOrEqual(t, most.Load(), int32(50))
}
