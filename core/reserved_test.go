package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// asRaw is a payload whose method encodes it as it is.
type asRaw string

func (r asRaw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// waysToPublish publish a payload by each way of a client with a txStore.
var waysToPublish = map[string]func(*testing.T, *core.Client, any) error{
	"Publish": func(t *testing.T, c *core.Client, payload any) error {
		_, err := c.Publish(t.Context(), "orders", payload)
		return err
	},
	"PublishBulk": func(t *testing.T, c *core.Client, payload any) error {
		_, err := c.PublishBulk(t.Context(), "orders", []any{payload})
		return err
	},
	"PublishTx": func(t *testing.T, c *core.Client, payload any) error {
		_, err := c.PublishTx(t.Context(), &fakeTx{}, "orders", payload)
		return err
	},
	"Memory": func(t *testing.T, c *core.Client, payload any) error {
		_, err := publisherIn(t, c, core.Memory).Publish(t.Context(), "orders", payload)
		return err
	},
	"Durable": func(t *testing.T, c *core.Client, payload any) error {
		_, err := publisherIn(t, c, core.Durable).Publish(t.Context(), "orders", payload)
		return err
	},
}

// taking is a server that takes everything.
var taking = roundTripFunc(func(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
})

// bothSettings runs a test with metadata among the attributes and in the
// payload.
func bothSettings(t *testing.T, test func(t *testing.T, config core.Config)) {
	t.Helper()
	t.Run("attributes", func(t *testing.T) { test(t, core.Config{}) })
	t.Run("payload", func(t *testing.T) { test(t, core.Config{MetadataInPayload: true}) })
}

func TestReservedKeyIsRefused(t *testing.T) {
	type embedded struct {
		Key any `json:"_postoffice"`
	}
	type plain struct {
		Key string `json:"_postoffice"`
	}
	bothSettings(t, func(t *testing.T, config core.Config) {
		config.URL, config.HTTPClient = testServer, &http.Client{Transport: taking}
		config.Outbox = &txStore{Store: memory.New()}
		client := newTestClient(t, config)
		for name, payload := range map[string]any{
			"map":               map[string]any{"_postoffice": map[string]string{"message_id": "forged"}},
			"plain map":         map[string]string{"_postoffice": ""},
			"plain struct":      plain{},
			"struct":            struct{ embedded }{},
			"raw":               json.RawMessage(`{"a":{},"_postoffice":1}`),
			"raw, spaces":       json.RawMessage(" { \"a\" : [ ] , \"_postoffice\" : 1 } "),
			"raw, twice":        json.RawMessage(`{"_postoffice":{},"_postoffice":{}}`),
			"escaped underline": json.RawMessage(`{"\u005fpostoffice":{"message_id":"forged"}}`),
			"escaped letter":    json.RawMessage(`{"a":1,"_po\u0073toffice":{}}`),
			"all escaped":       json.RawMessage(`{"\u005F\u0070\u006F\u0073\u0074\u006f\u0066\u0066\u0069\u0063\u0065":1}`),
			"marshaler":         asRaw(`{"a":"\\","_postoffice":{}}`),
			"escaped marshaler": asRaw(`{"_postoffic\u0065":{}}`),
			"pointer":           &struct{ embedded }{},
		} {
			for way, publish := range waysToPublish {
				t.Run(name+" "+way, func(t *testing.T) {
					path := "payload._postoffice"
					if way == "PublishBulk" {
						path = "payload[0]._postoffice"
					}
					isField(t, publish(t, client, payload), core.ErrInvalidMessage, path)
				})
			}
		}
		for name, payload := range map[string]any{
			"nested":       map[string]any{"a": map[string]int{"_postoffice": 1}},
			"nested plain": map[string]map[string]int{"a": {"_postoffice": 1}},
			"value":        map[string]string{"a": "_postoffice", "b": `"_postoffice":`},
			"in a list":    json.RawMessage(`{"a":[{"_postoffice":1},{"\u005fpostoffice":1}],"b":"\u005fpostoffice"}`),
			"longer":       map[string]string{"_postoffice_": "", "x_postoffice": ""},
			"shorter":      json.RawMessage(`{"_postoffic":1,"\u005fpost":2,"\u005fpostoffice2":3}`),
			"upper case":   map[string]string{"_Postoffice": ""},
			"twice":        json.RawMessage(`{"\\u005fpostoffice":1,"_postoffice\"":2}`),
		} {
			for way, publish := range waysToPublish {
				assert.NoError(t, publish(t, client, payload), "%s %s", name, way)
			}
		}
	})
}

func FuzzReservedKey(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"_postoffice":1}`, `{"a":{"_postoffice":1}}`, `{"\u005fpostoffice":1}`, `{"a":"\"","_po\u0073toffice":[]}`,
		`{"a":["_postoffice",{"_postoffice":2}],"b":"x"}`, `{"_postoffice" : {"_postoffice":3}}`, `{"\\u005fpostoffice":1}`, "{\"\u017fx\":1}",
	} {
		f.Add([]byte(seed))
	}
	store := &txStore{Store: memory.New()}
	config := core.Config{URL: testServer, Outbox: store, Logger: quiet}
	client, err := core.NewClient(config)
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, client.Stop(context.Background())) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", json.RawMessage(payload))
		fault, _ := errors.AsType[*core.FieldError](err)
		refused := fault != nil && fault.Field == "payload._postoffice"
		var object map[string]json.RawMessage
		_, has := object["_postoffice"]
		if json.Unmarshal(payload, &object) == nil {
			_, has = object["_postoffice"]
		}
		if has {
			require.Error(t, err)
		}
		if refused || err == nil {
			require.Equal(t, has, refused, "%q: %v", payload, err)
		}
	})
}
