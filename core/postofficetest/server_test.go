package postofficetest_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestListen(t *testing.T) {
	socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := socket.Addr().String()
	_, err = postofficetest.Listen(address)
	require.ErrorContains(t, err, "address already in use")
	require.NoError(t, socket.Close())
	server, err := postofficetest.Listen(address)
	require.NoError(t, err)
	defer server.Close()
	assert.Equal(t, "http://"+address, server.URL())
}

func TestHandler(t *testing.T) {
	server := postofficetest.Start(t)
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, wire.TopicsPath, strings.NewReader(`{"name":"orders","origin_host":"http://h/"}`))
	request.Header.Set("Content-Type", "application/json")
	server.Handler().ServeHTTP(recorder, request)
	assert.Equal(t, http.StatusCreated, recorder.Code)
	assert.Equal(t, []postofficetest.Topic{{ID: 1, Name: "orders", OriginHost: "http://h/"}}, server.Topics())
}

// Like the recorded server, this one speaks HTTP/2 in clear text and closes
// a connection with the 1000th answer.
func TestConnections(t *testing.T) {
	server := postofficetest.NewServer()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	client := &http.Client{Transport: transport}
	got := send(t, client, http.MethodGet, server.URL()+wire.HealthPath, "", "")
	assert.Equal(t, 2, got.protocol)

	plain := newClient(t)
	for i := range 1000 {
		got := send(t, plain, http.MethodGet, server.URL()+wire.HealthPath, "", "")
		require.Equal(t, i == 999, got.closes, "answer %d", i+1)
	}
	server.Close()
	transport.CloseIdleConnections()
}

func TestWait(t *testing.T) {
	server := postofficetest.NewServer()
	defer server.Close()
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, server.WaitForMessages(ended, "orders", 1), context.Canceled)
	require.ErrorContains(t, server.WaitForDeliveries(ended, 1), "waiting for 1 deliveries, have 0")

	waited := make(chan error)
	go func() { waited <- server.WaitForMessages(limited(t), "orders", 2) }()
	publish(t, server, "orders", `{}`)
	publish(t, server, "orders", `{}`)
	require.NoError(t, <-waited)
	require.NoError(t, server.WaitForMessages(ended, "", 2))
	require.NoError(t, server.WaitForDeliveries(limited(t), 2))
	require.NoError(t, server.WaitIdle(limited(t)))

	go func() { waited <- server.WaitForMessages(limited(t), "orders", 3) }()
	server.Close()
	require.ErrorIs(t, <-waited, postofficetest.ErrClosed)
	assert.Len(t, server.MessagesOf("orders"), 2, "what was recorded can still be read")
	server.Advance(time.Hour)
}

func TestAccessorsReturnCopies(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", newPeer(t, nil).URL)
	publish(t, server, "orders", `{"k":1}`)
	require.NoError(t, server.WaitIdle(limited(t)))
	message, request := server.Messages()[0], server.Requests()[0]
	message.Payload[1], message.JobIDs[0], request.Body[0] = 'x', 99, 'x'
	request.Header.Set("Content-Type", "x")
	assert.JSONEq(t, `{"k":1}`, string(server.Messages()[0].Payload))
	assert.Equal(t, []int64{1}, server.Messages()[0].JobIDs)
	assert.Equal(t, byte('{'), server.Requests()[0].Body[0])
	assert.Equal(t, "application/json", server.Requests()[0].Header.Get("Content-Type"))
}

// TestMessageMetadata has metadata in the payload, which stays as it came and is
// delivered so.
func TestMessageMetadata(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", newPeer(t, nil).URL)
	for payload, want := range map[string]map[string]string{
		`{"_postoffice":{"message_id":"m-1","tenant":"acme"},"k":1}`: {"message_id": "m-1", "tenant": "acme"},
		`{"_postoffice":{"a":"first","a":"second"}}`:                 {"a": "first"},
		`{"_postoffice":{}}`:          {},
		`{"_postoffice":["foreign"]}`: nil,
		`{"k":1}`:                     nil,
		`[]`:                          nil,
	} {
		publish(t, server, "orders", payload)
		messages := server.Messages()
		message := messages[len(messages)-1]
		assert.Equal(t, want, message.Metadata(), payload)
		assert.Equal(t, payload, string(message.Payload))
	}
	assert.Nil(t, postofficetest.Message{}.Metadata())
	require.NoError(t, server.WaitIdle(limited(t)))
	for _, delivery := range server.Deliveries() {
		message := server.Messages()[delivery.JobID-1]
		assert.Equal(t, message.Metadata() != nil, strings.Contains(string(delivery.Body), `"_postoffice":{`), "%s", delivery.Body)
	}
}

func TestHistory(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithHistory(5))
	addTopic(t, server, "orders", newPeer(t, nil).URL)
	for range 23 {
		publish(t, server, "orders", `{}`)
	}
	require.NoError(t, server.WaitForMessages(limited(t), "orders", 23), "forgotten ones are counted")
	require.NoError(t, server.WaitForDeliveries(limited(t), 23))
	for what, count := range map[string]int{
		"messages": len(server.Messages()), "requests": len(server.Requests()),
		"jobs": len(server.Jobs()), "deliveries": len(server.Deliveries()),
	} {
		assert.GreaterOrEqual(t, count, 5, what)
		assert.Less(t, count, 10, what)
	}
}

func TestClockStandsStill(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	server := postofficetest.Start(t, postofficetest.WithNow(now))
	assert.Equal(t, now, server.Now())
	server.Advance(time.Minute)
	assert.Equal(t, now.Add(time.Minute), server.Now())
}

// A host that comes late has its first turn at a full 30 s of the clock.
func TestRescuerTurns(t *testing.T) {
	server := postofficetest.Start(t)
	server.Advance(100 * time.Second)
	host := newOrigin(t)
	recovering(t, server, host.URL+"/o/")
	server.Advance(20*time.Second - 1)
	assert.Empty(t, host.requests())
	server.Advance(1)
	assert.Len(t, host.requests(), 1)
	server.Advance(5 * time.Minute)
	assert.Len(t, host.requests(), 11)
}

func TestRealTime(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithRealTime())
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	at := time.Now().Add(60 * time.Millisecond)
	for _, schedule := range []time.Time{at.Add(time.Hour), at} {
		status, answer := post(t, server, wire.SchedulePath,
			`{"topic":"orders","payload":{},"attributes":{},"schedule_at":"`+schedule.UTC().Format("2006-01-02T15:04:05.000000Z")+`"}`)
		require.Equal(t, http.StatusCreated, status, answer)
	}
	server.Advance(time.Hour)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	assert.WithinRange(t, time.Now(), at.Truncate(time.Microsecond), time.Now().Add(time.Minute))
	assert.Len(t, consumer.requests(), 1)
	assert.WithinDuration(t, time.Now(), server.Now(), time.Minute)
}

func TestMethodOverrideDeletes(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders", "http://127.0.0.1:1/")
	status, _ := post(t, server, wire.ConsumersPath+"/1", `{"_method":"delete"}`)
	assert.Equal(t, http.StatusNoContent, status)
	assert.True(t, server.Consumers()[0].Deleted)
	status, _ = post(t, server, wire.ConsumersPath+"/1?_method=delete", `{}`)
	assert.Equal(t, http.StatusNotFound, status, "only the body overrides")
}

func TestForms(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	got := send(t, newClient(t), http.MethodPost, server.URL()+wire.MessagePath+"?attributes[from]=query&topic=nope",
		"application/x-www-form-urlencoded", "topic=orders&payload[k][]=1&payload[k][]=2&payload[n][m]=a+b%26")
	require.Equal(t, http.StatusCreated, got.status, "the body goes before the query")
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	assert.JSONEq(t, `{"k":["1","2"],"n":{"m":"a b&"},"attributes":{"from":"query"}}`, consumer.requests()[0].body)
}
