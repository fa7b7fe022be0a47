package delivery_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// withMetadata is a delivery of an order that was published with metadata.
const withMetadata = `{"_postoffice":{"message_id":"m-1","tenant":"acme"},"id":7,"attributes":{"region":"north"}}`

func TestMetadata(t *testing.T) {
	merged := map[string]string{"message_id": "m-1", "tenant": "acme", "region": "north"}
	m := received[order](t, withMetadata, delivery.WithStrict())
	assert.Equal(t, merged, m.Attributes)
	assert.Equal(t, order{ID: 7}, m.Payload)
	assert.Equal(t, `{"id":7}`, string(received[json.RawMessage](t, withMetadata).Payload))
	assert.Equal(t, map[string]any{"id": json.Number("7")}, received[map[string]any](t, withMetadata, delivery.WithStrict()).Payload)
	assert.Equal(t, map[string]any{"id": json.Number("7")}, received[any](t, withMetadata).Payload)
}

func TestMetadataIsMerged(t *testing.T) {
	type attributes = map[string]string
	for body, want := range map[string]attributes{
		`{"_postoffice":{"a":"é\n"}}`:                                                      {"a": "é\n"},
		`{"id":7,"attributes":null,"_postoffice":{"a":"1"}}`:                               {"a": "1"},
		`{"_postoffice":{"a":"metadata","b":"1"},"attributes":{"a":"attribute"}}`:          {"a": "attribute", "b": "1"},
		`{"attributes":{"a":"attribute"},"_postoffice":{"a":"metadata","b":"1"}}`:          {"a": "attribute", "b": "1"},
		`{"_postoffice":{},"attributes":{"a":"1"}}`:                                        {"a": "1"},
		`{"\u005fpostoffice":{"a":"escaped"}}`:                                             {"a": "escaped"},
		`{"_postoffice":{"a":"first"},"id":7,"_postoffice":{"a":"forged","b":"forged"}}`:   {"a": "first"},
		`{"_postoffice":{"a":"first"},"id":7,"\u005Fpostoffice":["forged"]}`:               {"a": "first"},
		`{"_postoffice":{"a":"first","a":"second","\u0061":"third"},"attributes":{}}`:      {"a": "first"},
		" {\n\"_postoffice\" : { \"a\" : \"1\" } ,\n\"id\" : 7 , \"attributes\" : {} } \n": {"a": "1"},
		`{"id":{"_postoffice":{"a":"inner"}}}`:                                             {},
		`{"_Postoffice":{"a":"another key"}}`:                                              {},
	} {
		m := received[map[string]any](t, body)
		assert.Equal(t, want, m.Attributes, body)
		assert.NotContains(t, m.Payload, core.MetadataKey, body)
	}
}

// TestForeignMetadata has values of the key that are no metadata: nothing of them
// is lost, and nothing is taken for an attribute.
func TestForeignMetadata(t *testing.T) {
	for _, value := range []string{
		`null`, `true`, `7`, `"text"`, `[]`, `["message_id"]`, `{"message_id":7}`, `{"message_id":null}`,
		`{"message_id":"m-1","list":[]}`, `{"message_id":"m-1","inner":{}}`, `{"inner":{"message_id":"m-1"}}`,
	} {
		payload := `{"_postoffice":` + value + `,"id":7,"_postoffice":{"message_id":"second"}}`
		m := received[json.RawMessage](t, strings.TrimSuffix(payload, "}")+`,"attributes":{"region":"north"}}`)
		assert.Equal(t, payload, string(m.Payload))
		assert.Equal(t, map[string]string{"region": "north"}, m.Attributes, value)
	}
}

func TestWithoutMetadata(t *testing.T) {
	type publishers struct {
		ID       int               `json:"id"`
		Metadata map[string]string `json:"_postoffice"`
	}
	m := received[publishers](t, withMetadata, delivery.WithoutMetadata(), delivery.WithStrict())
	assert.Equal(t, publishers{7, map[string]string{"message_id": "m-1", "tenant": "acme"}}, m.Payload)
	assert.Equal(t, map[string]string{"region": "north"}, m.Attributes)
	assert.Equal(t, `{"_postoffice":{"message_id":"m-1","tenant":"acme"},"id":7}`,
		string(received[json.RawMessage](t, withMetadata, delivery.WithoutMetadata()).Payload))
}

// TestMetadataIsDeduplicated has copies with different ids of the server.
func TestMetadataIsDeduplicated(t *testing.T) {
	for name, test := range map[string]struct {
		second string
		option delivery.Option
		want   int64
	}{
		"SameID":          {`{"_postoffice":{"message_id":"m-1"},"id":8}`, delivery.WithTopic(""), 1},
		"OtherID":         {`{"_postoffice":{"message_id":"m-2"},"id":7}`, delivery.WithTopic(""), 2},
		"AttributeCounts": {`{"_postoffice":{"message_id":"m-1"},"attributes":{"message_id":"m-2"}}`, delivery.WithTopic(""), 2},
		"Attribute":       {`{"_postoffice":{"message_id":"m-2"},"attributes":{"message_id":"m-1"}}`, delivery.WithTopic(""), 1},
		"WithoutMetadata": {withMetadata, delivery.WithoutMetadata(), 2},
	} {
		t.Run(name, func(t *testing.T) {
			deduplicator, err := delivery.NewMemory(100)
			require.NoError(t, err)
			var handled atomic.Int64
			url, _ := consumer(t, func(context.Context, delivery.Message[order]) error {
				handled.Add(1)
				return nil
			}, delivery.WithDeduplication(deduplicator), test.option)
			require.Equal(t, 204, post(t, url, withMetadata, "message-id", "1").status)
			require.Equal(t, 204, post(t, url, test.second, "message-id", "2").status)
			assert.Equal(t, test.want, handled.Load())
		})
	}
}

func TestWithContextSeesMetadata(t *testing.T) {
	var seen map[string]string
	received[order](t, withMetadata, delivery.WithContext(func(ctx context.Context, attributes map[string]string) context.Context {
		seen = attributes
		return ctx
	}))
	assert.Equal(t, map[string]string{"message_id": "m-1", "tenant": "acme", "region": "north"}, seen)
}

// TestUndecodableHasMetadata has a payload that does not fit, and one that is not
// read to its end.
func TestUndecodableHasMetadata(t *testing.T) {
	var taken []string
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error { return nil },
		delivery.WithUndecodable(func(_ context.Context, m delivery.Undecodable) error {
			taken = append(taken, string(m.Body))
			return nil
		}))
	bodies := []string{
		`{"_postoffice":{"message_id":"m-1"},"id":"seven","attributes":{}}`,
		`{"_postoffice":{"message_id":"m-1"`,
	}
	for _, body := range bodies {
		require.Equal(t, 204, post(t, url, body).status)
	}
	assert.Equal(t, bodies, taken)
	assert.Len(t, reported.take(), len(bodies))
}

// TestMetadataThroughTheServer publishes a body as a client does that puts
// metadata into the payload, singly and in a bulk, and receives it.
func TestMetadataThroughTheServer(t *testing.T) {
	server := postofficetest.Start(t)
	deduplicator, err := delivery.NewMemory(100)
	require.NoError(t, err)
	messages := make(chan delivery.Message[order], 4)
	url := serve(t, delivery.Handler(func(_ context.Context, m delivery.Message[order]) error {
		messages <- m
		return nil
	}, delivery.WithStrict(), delivery.WithDeduplication(deduplicator)))
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://localhost/"}))
	_, err = server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: url})
	require.NoError(t, err)

	for path, body := range map[string]string{
		"/api/messages": `{"topic":"orders","payload":{"_postoffice":{"message_id":"m-1","tenant":"acme"},"id":1},"attributes":{"region":"north"}}`,
		"/api/bulk_messages": `{"topic":"orders","payload":[{"_postoffice":{"message_id":"m-2"},"id":2},{"_postoffice":{"message_id":"m-3"},"id":3},` +
			`{"_postoffice":{"message_id":"m-2"},"id":2}],"attributes":{"region":"south"}}`,
	} {
		got, err := send(t.Context(), "POST", server.URL()+path, strings.NewReader(body))
		require.NoError(t, err)
		require.Equal(t, 201, got.status, got.body)
	}
	require.NoError(t, server.WaitForDeliveries(t.Context(), 4))
	byID := map[int]map[string]string{}
	for range 3 {
		select {
		case m := <-messages:
			byID[m.Payload.ID] = m.Attributes
		case <-time.After(patience):
			t.Fatal("not all messages were received")
		}
	}
	assert.Equal(t, map[int]map[string]string{
		1: {"message_id": "m-1", "tenant": "acme", "region": "north"},
		2: {"message_id": "m-2", "region": "south"},
		3: {"message_id": "m-3", "region": "south"},
	}, byID)
	assert.Empty(t, messages, "the copy was told apart by its id")
}
