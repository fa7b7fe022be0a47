package core_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// attribute returns an attribute of a message at the server.
func attribute(message postofficetest.Message, name string) string {
	var attributes map[string]string
	if json.Unmarshal(message.Attributes, &attributes) != nil {
		return ""
	}
	return attributes[name]
}

// messageIDs returns the ids that messages at the server have as attributes.
func messageIDs(server *postofficetest.Server, topic string) []string {
	var ids []string
	for _, message := range server.MessagesOf(topic) {
		ids = append(ids, attribute(message, core.MessageIDAttribute))
	}
	return ids
}

func TestMessageIDIsAnAttributeInEveryMode(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				config.Outbox = memory.New()
				client := startTestClient(t, config)
				p := publisherIn(t, client, mode)
				var want []string
				for range 2 {
					receipt, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithMessageID(), core.WithAttribute("kind", "paid"))
					require.NoError(t, err)
					want = append(want, receipt.IDs...)
				}
				receipt, err := p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}, struct{}{}}, core.WithMessageID())
				require.NoError(t, err)
				want = append(want, receipt.IDs...)
				require.Len(t, want, 5)
				for _, id := range want {
					parsed, err := uuid.Parse(id)
					require.NoError(t, err)
					assert.Equal(t, uuid.Version(7), parsed.Version())
				}
				time.Sleep(time.Second) // the relay's and the queue's time
				assert.ElementsMatch(t, want, messageIDs(server, "orders"))
				for _, message := range server.MessagesOf("orders") { // in no order
					kind := ""
					if slices.Contains(want[:2], attribute(message, core.MessageIDAttribute)) {
						kind = "paid"
					}
					assert.Equal(t, kind, attribute(message, "kind"))
				}
			})
		})
	}
}

func TestMessageIDStaysTheSameOnEveryTry(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := memory.New()
				config.Outbox = store
				client := startTestClient(t, config)
				server.FailNext(3, http.StatusInternalServerError)
				p := publisherIn(t, client, mode)
				receipt, err := p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}}, core.WithMessageID())
				require.NoError(t, err)
				time.Sleep(core.DefaultBatchDelay + time.Millisecond)
				synctest.Wait()
				for _, record := range records(t, store) {
					assert.Contains(t, receipt.IDs, record.ID)
					assert.JSONEq(t, `{"message_id":"`+record.ID+`"}`, string(record.Attributes))
				}
				time.Sleep(10 * time.Minute)
				assert.ElementsMatch(t, receipt.IDs, messageIDs(server, "orders"))
				assert.Empty(t, records(t, store))
			})
		})
	}
}

func TestMessageIDSurvivesAnOutboxThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		store.shut.Store(true)
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusBadRequest, true })
		receipt, err := publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{}, core.WithMessageID())
		require.NoError(t, err)
		time.Sleep(time.Second)
		store.shut.Store(false)
		require.NoError(t, client.Flush(t.Context()))
		stored := records(t, store)
		require.Len(t, stored, 1)
		assert.Equal(t, receipt.IDs[0], stored[0].ID)
		assert.JSONEq(t, `{"message_id":"`+stored[0].ID+`"}`, string(stored[0].Attributes))
	})
}

func TestMessageIDReplacesAnAttributeOfItsName(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	receipt, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithMessageID(), core.WithAttribute(core.MessageIDAttribute, "mine"))
	require.NoError(t, err)
	assert.Equal(t, receipt.IDs, messageIDs(server, "orders"))
}

func TestMessageWithItsIDMayNotBeTooLarge(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	payload := map[string]string{"text": strings.Repeat("x", maxMessageBytes-len(`{"text":""}`)-len("orders")-len("{}"))}
	_, err := client.Publish(t.Context(), "orders", payload, core.WithMessageID())
	require.ErrorIs(t, err, core.ErrInvalidMessage)
	assert.ErrorContains(t, err, "payload is too large")
}

// paidID is what consumers know messages of the topic "orders" and the key
// "4711 paid" by. It never changes.
const paidID = "78af180a-4675-5f1d-82d9-c667a5004710"

func TestDedupKeyHoldsOneMessage(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := memory.New()
				config.Outbox = store
				client := newTestClient(t, config)
				p := publisherIn(t, client, mode)
				publish := func(topic, key string, n int) string {
					receipt, err := p.Publish(t.Context(), topic, map[string]int{"n": n}, core.WithDedupKey(key), core.WithMessageID())
					require.NoError(t, err)
					assert.Equal(t, core.Stored, receipt.State)
					require.Len(t, receipt.IDs, 1)
					return receipt.IDs[0]
				}
				first := publish("orders", "4711 paid", 1)
				assert.Equal(t, first, publish("orders", "4711 paid", 2))
				assert.NotEqual(t, first, publish("orders", "4712 paid", 3))
				assert.NotEqual(t, first, publish("bills", "4711 paid", 4))
				assert.Len(t, records(t, store), 3)
				assert.Empty(t, server.Messages(), "it is delivered from the outbox")

				require.NoError(t, client.Start(t.Context()))
				synctest.Wait()
				assert.ElementsMatch(t, []string{`{"n":1}`, `{"n":3}`}, payloadsOf(server, "orders"))
				assert.Empty(t, records(t, store))
				assert.NotEqual(t, first, publish("orders", "4711 paid", 5), "the key is free again, the id is not")
				synctest.Wait()
				assert.Len(t, payloadsOf(server, "orders"), 3)
				assert.ElementsMatch(t, []string{paidID, "3cacc781-cff5-5a57-897a-b804792898aa", paidID}, messageIDs(server, "orders"))
			})
		})
	}
}

func TestDedupKeyIsChecked(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: memory.New()})
	for problem, key := range map[string]string{
		"WithDedupKey is empty":           "",
		"WithDedupKey has 1025 bytes":     strings.Repeat("k", 1025),
		"WithDedupKey is not valid UTF-8": "\xff",
	} {
		_, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey(key))
		require.ErrorIs(t, err, core.ErrInvalidMessage)
		assert.ErrorContains(t, err, problem)
	}
	_, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("first"), core.WithDedupKey("last"))
	require.NoError(t, err, "the last one counts")
	_, err = client.PublishBulk(t.Context(), "orders", []any{struct{}{}}, core.WithDedupKey("k"))
	require.ErrorIs(t, err, core.ErrInvalidMessage)
	assert.ErrorContains(t, err, "WithDedupKey identifies one message")

	without := newTestClient(t, core.Config{URL: testServer})
	_, err = without.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("k"))
	require.ErrorIs(t, err, core.ErrInvalidMessage)
	assert.ErrorContains(t, err, "WithDedupKey requires Config.Outbox")
}

func TestDedupKeyInABrokenOutbox(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: brokenStore{memory.New()}})
	_, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("k"))
	require.ErrorIs(t, err, core.ErrNotAccepted)
	require.ErrorIs(t, err, errBrokenStore)
}

func TestMessageIDsOfABulkThatFailsInPart(t *testing.T) {
	server := newServer(t, "orders")
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
		return http.StatusBadRequest, strings.Contains(string(body), `"n":2`)
	})
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	receipt, err := client.PublishBulk(t.Context(), "orders", []any{
		map[string]int{"n": 1}, map[string]int{"n": 2}, map[string]int{"n": 3},
	}, core.WithMessageID())
	require.NoError(t, err)
	require.Len(t, receipt.IDs, 3)
	assert.Equal(t, []string{receipt.IDs[0], receipt.IDs[2]}, messageIDs(server, "orders"))
	stored := records(t, store)
	require.Len(t, stored, 1)
	assert.Equal(t, receipt.IDs[1], stored[0].ID)
	assert.JSONEq(t, `{"message_id":"`+stored[0].ID+`"}`, string(stored[0].Attributes))
}

func TestIdentifiedMessagesInTheOutbox(t *testing.T) {
	server := newServer(t, "orders")
	server.Stop()
	store := memory.New()
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
	receipt, err := client.PublishBulk(t.Context(), "orders", []any{map[string]int{"n": 1}, map[string]int{"n": 2}}, core.WithMessageID())
	require.NoError(t, err)
	stored := records(t, store)
	require.Len(t, stored, 2)
	for i, record := range stored {
		assert.Equal(t, receipt.IDs[i], record.ID)
		assert.Equal(t, json.RawMessage(`{"n":`+string(rune('1'+i))+`}`), record.Payload)
		assert.Equal(t, outbox.Pending, record.State)
	}
}
