package core_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// sizesOf publishes messages in one call, and returns how many are in each
// request that the server gets for it.
func sizesOf(t *testing.T, server *postofficetest.Server, client *core.Client, topic string, n int) (sizes []int) {
	t.Helper()
	before := len(server.Requests())
	_, err := client.PublishBulk(t.Context(), topic, numbered(n))
	require.NoError(t, err)
	for _, request := range server.Requests()[before:] {
		var body struct{ Payload json.RawMessage }
		var list []json.RawMessage
		require.NoError(t, json.Unmarshal(request.Body, &body))
		if err := json.Unmarshal(body.Payload, &list); err != nil {
			list = []json.RawMessage{body.Payload}
		}
		sizes = append(sizes, len(list))
	}
	return sizes
}

func TestOnePoisonMessageHoldsBackNoOther(t *testing.T) {
	for _, position := range []int{0, 250, 499} {
		server := newServer(t, "orders")
		failOn(server, `"poison"`)
		store := memory.New()
		client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
		payloads := numbered(500)
		payloads[position] = map[string]string{"kind": "poison"}
		receipt, err := client.PublishBulk(t.Context(), "orders", payloads)
		require.NoError(t, err)
		assert.Len(t, receipt.IDs, 1)
		assert.Len(t, server.MessagesOf("orders"), 499)
		list := records(t, store)
		require.Len(t, list, 1)
		assert.JSONEq(t, `{"kind":"poison"}`, string(list[0].Payload))
		assert.Less(t, len(server.Requests()), 50, "halving finds it")
		server.FailWhen(nil)
		assert.Equal(t, []int{500}, sizesOf(t, server, client, "orders", 500), "a poison message teaches no limit")
	}
}

func TestPermanentErrorOfOneMessageInABulk(t *testing.T) {
	server := newServer(t, "orders")
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, bytes.Contains(body, []byte(`"poison"`)) })
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	payloads := numbered(20)
	payloads[7] = map[string]string{"kind": "poison"}
	_, err := client.PublishBulk(t.Context(), "orders", payloads)
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("orders"), 19)
	list := records(t, store)
	require.Len(t, list, 1)
	assert.Equal(t, outbox.Dead, list[0].State)
}

func TestServerThatFailsEverythingIsNotAskedForEach(t *testing.T) {
	server := newServer(t, "orders")
	failOn(server, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	receipt, err := client.PublishBulk(t.Context(), "orders", numbered(500))
	require.NoError(t, err)
	assert.Len(t, receipt.IDs, 500)
	assert.Len(t, server.Requests(), 2, "one with the messages, and one that asks the server")
}

func TestBulkLimitOfAnOlderServerIsLearned(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithBulkLimit(100))
	addTopics(t, server, "orders", "bills")
	client := newTestClient(t, core.Config{URL: server.URL()})
	_, err := client.PublishBulk(t.Context(), "orders", numbered(400))
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("orders"), 400)
	before := len(server.Requests())
	_, err = client.PublishBulk(t.Context(), "bills", numbered(400))
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("bills"), 400)
	assert.Len(t, server.Requests(), before+4, "the limit is the server's, whatever the topic")
}

func TestBodyLimitOfAProxyIsLearned(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithBodyLimit(100_000))
	addTopics(t, server, "orders")
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, Timeout: time.Minute, BulkTimeout: time.Minute})
	payloads := []any{}
	for range 40 {
		payloads = append(payloads, map[string]string{"text": strings.Repeat("x", 10_000)})
	}
	payloads[20] = map[string]string{"text": strings.Repeat("x", 200_000)}
	receipt, err := client.PublishBulk(t.Context(), "orders", payloads)
	require.NoError(t, err)
	assert.Len(t, server.MessagesOf("orders"), 39)
	require.Len(t, receipt.IDs, 1)
	assert.Equal(t, outbox.Dead, records(t, store)[0].State, "one message cannot be cut")

	before := len(server.Requests())
	_, err = client.PublishBulk(t.Context(), "orders", payloads[:20])
	require.NoError(t, err)
	for _, request := range server.Requests()[before:] {
		assert.Equal(t, 201, request.Status)
	}
}

func TestLimitOfJobsIsLearnedForItsTopic(t *testing.T) {
	server := newServer(t, "quiet")
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "busy", OriginHost: "http://app.test/"}))
	for _, target := range []string{"1", "2", "3"} {
		// Paused: the jobs are made, and nobody is called.
		_, err := server.AddConsumer(postofficetest.Consumer{Topic: "busy", Target: "http://127.0.0.1:9/" + target, Paused: true})
		require.NoError(t, err)
	}
	client := newTestClient(t, core.Config{URL: server.URL(), BulkLimit: 3000, BulkTimeout: time.Minute})
	receipt, err := client.PublishBulk(t.Context(), "busy", numbered(3000))
	require.NoError(t, err)
	assert.Equal(t, core.Delivered, receipt.State)
	assert.Len(t, receipt.Jobs, 9000)
	assert.Len(t, server.MessagesOf("busy"), 3000)

	before := len(server.Requests())
	_, err = client.PublishBulk(t.Context(), "busy", numbered(3000))
	require.NoError(t, err)
	for _, request := range server.Requests()[before:] {
		assert.Equal(t, 201, request.Status, "the second time it knows")
	}
	assert.Equal(t, []int{3000}, sizesOf(t, server, client, "quiet", 3000), "other topics have no such limit")
}

func TestTimedOutBulkIsSmallerForAStart(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox = memory.New()
		client := newTestClient(t, config)
		server.Hang()
		assert.Equal(t, []int{500}, sizesOf(t, server, client, "orders", 500))
		assert.Equal(t, []int{250}, sizesOf(t, server, client, "orders", 500))
		server.Resume()
		assert.Equal(t, []int{125, 250, 125}, sizesOf(t, server, client, "orders", 500), "what passes raises it again")
		assert.Equal(t, []int{500}, sizesOf(t, server, client, "orders", 500))
	})
}

// Nothing is dead that was not refused itself, however many others are.
func TestManyRefusedMessagesDoNotConvictOthers(t *testing.T) {
	for name, withOutbox := range map[string]bool{"with an outbox": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
					return http.StatusBadRequest, bytes.Contains(body, []byte("bad"))
				})
				var seen events
				config.Observer = seen.observer()
				if withOutbox {
					config.Outbox = memory.New()
				}
				client := newTestClient(t, config)
				payloads := make([]any, 300)
				for i := range payloads {
					payloads[i] = map[string]int{"bad": i}
					if i%30 == 0 {
						payloads[i] = map[string]int{"good": i}
					}
				}
				_, err := publisherIn(t, client, core.Memory).PublishBulk(t.Context(), "orders", payloads)
				require.NoError(t, err)
				require.NoError(t, client.Flush(t.Context()))
				assert.Len(t, payloadsOf(server, "orders"), 10)
				dead := 0
				for _, event := range seen.of("dead") {
					dead += event.Messages
				}
				assert.Equal(t, 290, dead)
			})
		})
	}
}
