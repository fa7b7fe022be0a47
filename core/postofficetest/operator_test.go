package postofficetest_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestOperatorPublish(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	addTopic(t, server, "lonely")
	server.FailNext(1, http.StatusServiceUnavailable)
	ids, err := server.Operator().Publish("orders", []byte(" {\"k\":1} "), []byte(`{"a":"b"}`))
	require.NoError(t, err, "faults are for requests")
	assert.Equal(t, []int64{1}, ids)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	assert.JSONEq(t, `{"k":1,"attributes":{"a":"b"}}`, consumer.requests()[0].body)
	ids, err = server.Operator().Publish("lonely", []byte(`{}`), []byte(`{}`))
	require.NoError(t, err)
	assert.Empty(t, ids)
	messages := server.Messages()
	assert.Equal(t, []int64{1, 2}, []int64{messages[0].Number, messages[1].Number})
	assert.Empty(t, server.Requests())

	for want, c := range map[string][3]string{
		"unknown topic":          {"none", `{}`, `{}`},
		"payload is not JSON":    {"orders", `{`, `{}`},
		"attributes is not JSON": {"orders", `{}`, ``},
		"integers of over 131,072 digits cannot be stored": {"orders", `{"a":"\u0000"}`, `{}`},
	} {
		_, err := server.Operator().Publish(c[0], []byte(c[1]), []byte(c[2]))
		assert.ErrorContains(t, err, want)
	}
	assert.Len(t, server.Messages(), 2)
}

func TestRetryNow(t *testing.T) {
	server := postofficetest.Start(t)
	var status atomic.Int32
	status.Store(503)
	hold := make(chan struct{})
	holding := make(chan struct{}, 1)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		if status.Load() == 0 {
			holding <- struct{}{}
			<-hold
		}
		w.WriteHeader(int(max(status.Load(), 200)))
	})
	addTopic(t, server, "orders", consumer.URL)
	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitIdle(limited(t)))

	require.ErrorIs(t, server.Operator().RetryNow(2), postofficetest.ErrNoJob)
	server.SetPaused(1, true)
	require.ErrorIs(t, server.Operator().RetryNow(1), postofficetest.ErrPaused)
	server.SetPaused(1, false)
	require.NoError(t, server.Operator().RetryNow(1))
	require.NoError(t, server.WaitForDeliveries(limited(t), 2))
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Equal(t, 2, server.Jobs()[0].Attempts)
	assert.True(t, server.Jobs()[0].DueAt.After(server.Now()), "it waits again")

	status.Store(0)
	require.NoError(t, server.Operator().RetryNow(1))
	<-holding
	require.ErrorIs(t, server.Operator().RetryNow(1), postofficetest.ErrUnderWay)
	assert.True(t, server.Operator().JobStatuses([]int64{1})[0].UnderWay)
	close(hold)
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.False(t, server.Operator().JobStatuses([]int64{1, 7})[0].UnderWay)
	require.ErrorIs(t, server.Operator().RetryNow(1), postofficetest.ErrSettled)
	server.Advance(24 * time.Hour)
	assert.Len(t, consumer.requests(), 3, "the attempt that was planned is not made as well")
}

func TestRetryNowOfOneGivenUp(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	publish(t, server, "orders", `{}`)
	server.Advance(100 * 24 * time.Hour)
	require.Equal(t, postofficetest.GivenUp, server.Jobs()[0].State)
	require.NoError(t, server.Operator().RetryNow(1))
	require.NoError(t, server.WaitForDeliveries(limited(t), 101))
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Equal(t, postofficetest.GivenUp, server.Jobs()[0].State)
}

func TestRetryConsumer(t *testing.T) {
	server := postofficetest.Start(t)
	var status atomic.Int32
	status.Store(500)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	addTopic(t, server, "orders", consumer.URL+"/one", consumer.URL+"/two")
	for range 3 {
		publish(t, server, "orders", `{}`)
	}
	_, answer := post(t, server, wire.SchedulePath, `{"topic":"orders","payload":{},"attributes":{},"schedule_at":"2099-01-01T00:00:00Z"}`)
	require.JSONEq(t, `{"id":[8,7]}`, answer)
	require.NoError(t, server.WaitForDeliveries(limited(t), 6))
	require.NoError(t, server.WaitIdle(limited(t)))
	status.Store(200)
	assert.Zero(t, server.Operator().RetryConsumer(77))
	assert.Equal(t, 3, server.Operator().RetryConsumer(2))
	require.NoError(t, server.WaitForDeliveries(limited(t), 9))
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Equal(t, map[int64]postofficetest.Totals{1: {Waiting: 4}, 2: {Waiting: 1, Delivered: 3}}, server.Operator().ConsumerTotals())
	server.SetPaused(1, true)
	assert.Zero(t, server.Operator().RetryConsumer(1))
	server.SetPaused(1, false)
	server.Advance(time.Minute)
	assert.Equal(t, map[int64]postofficetest.Totals{1: {Waiting: 1, Delivered: 3}, 2: {Waiting: 1, Delivered: 3}}, server.Operator().ConsumerTotals())
}

func TestMaxGap(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithMaxGap(2*time.Second))
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	publish(t, server, "orders", `{}`)
	server.Advance(10 * time.Second)
	assert.Len(t, server.Deliveries(), 6)
	server.SetPaused(1, true)
	server.Advance(2 * time.Second)
	server.SetPaused(1, false)
	server.Advance(2 * time.Second)
	assert.Len(t, server.Deliveries(), 7, "a paused one looks again as soon")
}

func TestFront(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithFront(func(s *postofficetest.Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/page" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			s.Handler().ServeHTTP(w, r)
		})
	}))
	for range 2 {
		assert.Equal(t, http.StatusTeapot, send(t, newClient(t), http.MethodGet, server.URL()+"/page", "", "").status)
		assert.Equal(t, http.StatusOK, send(t, newClient(t), http.MethodGet, server.URL()+wire.HealthPath, "", "").status)
		server.Stop()
		require.NoError(t, server.Restart())
	}
}

func TestTrouble(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	assert.Zero(t, server.Operator().Trouble())
	for _, trouble := range []postofficetest.Trouble{
		{Status: 503},
		{Status: 429, Times: 3, RetryAfter: 7 * time.Second},
		{Delay: time.Hour}, {Hang: true}, {Reset: true}, {Drop: true}, {Unwell: true},
		{Status: 500, Delay: time.Second, Drop: true, Unwell: true},
	} {
		server.Operator().Break(trouble)
		assert.Equal(t, trouble, server.Operator().Trouble())
	}
	server.Operator().Break(postofficetest.Trouble{Status: 503, Times: 2})
	for i, status := range []int{503, 503, 200} {
		assert.Equal(t, max(2-i, 0), server.Operator().Trouble().Times)
		assert.Equal(t, status, send(t, newClient(t), http.MethodGet, server.URL()+wire.HealthPath, "", "").status)
	}
	assert.Zero(t, server.Operator().Trouble())
	server.Operator().Break(postofficetest.Trouble{Status: 404})
	for range 3 {
		assert.Equal(t, 404, send(t, newClient(t), http.MethodGet, server.URL()+wire.HealthPath, "", "").status)
	}

	// Who watches is told, also when no request comes.
	told, watching := make(chan error), make(chan struct{}, 2)
	go func() {
		told <- server.Wait(limited(t), func() bool {
			watching <- struct{}{}
			return server.Operator().Trouble() == postofficetest.Trouble{Hang: true}
		})
	}()
	<-watching
	server.Operator().Break(postofficetest.Trouble{Hang: true})
	require.NoError(t, <-told)
	server.Resume()
	assert.Zero(t, server.Operator().Trouble())
}
