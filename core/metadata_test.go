package core_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// metadataOf returns the metadata of a payload, which must be its first key,
// and the payload without it.
func metadataOf(t *testing.T, payload string) (metadata map[string]string, rest string) {
	t.Helper()
	begin := `{"` + core.MetadataKey + `":`
	if !strings.HasPrefix(payload, begin) {
		assert.NotContains(t, payload, core.MetadataKey)
		return nil, payload
	}
	decoder := json.NewDecoder(strings.NewReader(payload[len(begin):]))
	require.NoError(t, decoder.Decode(&metadata), payload)
	rest = payload[len(begin)+int(decoder.InputOffset()):]
	return metadata, "{" + strings.TrimPrefix(rest, ",")
}

// metadataIDs returns the ids that payloads have as metadata.
func metadataIDs(t *testing.T, payloads []string) (ids []string) {
	t.Helper()
	for _, payload := range payloads {
		metadata, _ := metadataOf(t, payload)
		ids = append(ids, metadata[core.MessageIDAttribute])
	}
	return ids
}

// sent publishes one payload as a request with attributes does, and returns
// what the server gets: attributes and metadata as JSON, and the payload
// without its metadata.
func sent(t *testing.T, config core.Config, base map[string]any, payload any, options ...core.PublishOption) (attributes, metadata, rest string) {
	t.Helper()
	server := newServer(t, "orders")
	config.URL = server.URL()
	client := newTestClient(t, config)
	var seen []string
	for _, mode := range []core.Mode{core.Off, core.Memory} {
		p, end := begin(t, client, core.Options{AfterResponse: mode, Attributes: func(*http.Request) map[string]any { return base }})
		_, err := p.Publish(t.Context(), "orders", payload, options...)
		require.NoError(t, err)
		_, err = p.PublishBulk(t.Context(), "orders", []any{payload}, options...)
		require.NoError(t, err)
		end(200)
	}
	require.NoError(t, client.Flush(t.Context()))
	for _, message := range server.MessagesOf("orders") {
		found, without := metadataOf(t, string(message.Payload))
		metadata, attributes, rest = mustJSON(t, found), string(message.Attributes), without
		seen = append(seen, attributes+metadata+rest)
	}
	require.Len(t, seen, 4)
	for _, other := range seen {
		require.Equal(t, seen[0], other, "in every mode")
	}
	return attributes, metadata, rest
}

func TestMetadataTravelsInThePayload(t *testing.T) {
	type attributes = map[string]any
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		base    attributes
		options []core.PublishOption
		// off is what the attributes are without the setting, attributes and
		// metadata what they are with it.
		off, attributes, metadata string
	}{
		"nothing":     {nil, nil, `{}`, `{}`, `null`},
		"empty":       {attributes{}, []core.PublishOption{core.WithAttributes(nil)}, `{}`, `{}`, `null`},
		"attribute":   {nil, []core.PublishOption{core.WithAttribute("a", 1)}, `{"a":"1"}`, `{"a":"1"}`, `null`},
		"metadata":    {nil, []core.PublishOption{core.WithMetadata("m", 1.5)}, `{"m":"1.5"}`, `{}`, `{"m":"1.5"}`},
		"of requests": {attributes{"r": at, "s": "\"\\"}, nil, `{"r":"2026-01-02T03:04:05Z","s":"\"\\"}`, `{}`, `{"r":"2026-01-02T03:04:05Z","s":"\"\\"}`},
		"of all kinds": {attributes{"r": true}, []core.PublishOption{core.WithMetadata("m", 1), core.WithAttributes(attributes{"z": 1, "a": "2"}), core.WithMetadata("b", "3")},
			`{"a":"2","b":"3","m":"1","r":"true","z":"1"}`, `{"a":"2","z":"1"}`, `{"b":"3","m":"1","r":"true"}`},
		"the later": {nil, []core.PublishOption{core.WithMetadata("m", 1), core.WithMetadata("n", 0), core.WithMetadata("m", 2)},
			`{"m":"2","n":"0"}`, `{}`, `{"m":"2","n":"0"}`},
		"an attribute replaces one of the request": {attributes{"r": 1, "s": 1}, []core.PublishOption{core.WithAttribute("r", 2)},
			`{"r":"2","s":"1"}`, `{"r":"2"}`, `{"s":"1"}`},
		"metadata replaces an attribute of the request": {attributes{"r": 1, "s": 1}, []core.PublishOption{core.WithMetadata("r", 2)},
			`{"r":"2","s":"1"}`, `{}`, `{"r":"2","s":"1"}`},
		"an attribute replaces metadata": {nil, []core.PublishOption{core.WithMetadata("m", 1), core.WithAttribute("m", 2)}, `{"m":"2"}`, `{"m":"2"}`, `null`},
		"an attribute stays one":         {nil, []core.PublishOption{core.WithAttribute("m", 1), core.WithMetadata("m", 2)}, `{"m":"2"}`, `{"m":"1"}`, `null`},
		"what is replaced may be wrong": {attributes{"r": nil}, []core.PublishOption{core.WithMetadata("m", nil), core.WithAttribute("m", 1), core.WithAttribute("r", 1)},
			`{"m":"1","r":"1"}`, `{"m":"1","r":"1"}`, `null`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, payload := range []any{struct{}{}, map[string]any{}, map[string]int{"n": 1}, json.RawMessage(`{ "n" : [ ] }`)} {
				text := mustJSON(t, payload)
				encoded, metadata, rest := sent(t, core.Config{}, test.base, payload, test.options...)
				assert.Equal(t, []string{test.off, "null", text}, []string{encoded, metadata, rest})
				encoded, metadata, rest = sent(t, core.Config{MetadataInPayload: true}, test.base, payload, test.options...)
				assert.Equal(t, []string{test.attributes, test.metadata, text}, []string{encoded, metadata, rest})
			}
		})
	}
}

// Equal attributes have equal bytes, so that their messages share a request.
func TestEqualAttributesHaveEqualBytes(t *testing.T) {
	type attributes = map[string]any
	many := attributes{}
	var singly []core.PublishOption
	for i := range 40 {
		many[fmt.Sprint("k", i)] = i
		singly = append(singly, core.WithAttribute(fmt.Sprint("k", 39-i), 39-i))
	}
	bothSettings(t, func(t *testing.T, config core.Config) {
		for want, ways := range map[string][][]core.PublishOption{
			`{"a":"1","b":"true","c":"x"}`: {
				{core.WithAttribute("a", 1), core.WithAttribute("b", true), core.WithAttribute("c", "x")},
				{core.WithAttribute("c", "x"), core.WithAttribute("b", "true"), core.WithAttribute("a", int8(1))},
				{core.WithAttributes(attributes{"c": "x", "b": "true", "a": "1"})},
				{core.WithAttributes(attributes{"c": "y", "b": "true"}), core.WithAttribute("a", "1"), core.WithAttribute("c", "x")},
			},
			mustJSON(t, textsOf(many)): {{core.WithAttributes(many)}, singly},
		} {
			for _, options := range ways {
				encoded, _, _ := sent(t, config, nil, struct{}{}, options...)
				assert.Equal(t, want, encoded)
			}
		}
	})
	base := attributes{"b": 1, "a": 2}
	encoded, _, _ := sent(t, core.Config{}, base, struct{}{}, core.WithAttribute("ab", 3), core.WithAttribute("0", 4))
	assert.Equal(t, `{"0":"4","a":"2","ab":"3","b":"1"}`, encoded)
	_, metadata, _ := sent(t, core.Config{MetadataInPayload: true}, base, struct{}{}, core.WithMetadata("ab", 3), core.WithMetadata("0", 4))
	assert.Equal(t, `{"0":"4","a":"2","ab":"3","b":"1"}`, metadata)
}

// textsOf returns attributes as texts.
func textsOf(attributes map[string]any) map[string]string {
	texts := map[string]string{}
	for name, value := range attributes {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

func TestMessageIDIsMetadataInEveryMode(t *testing.T) {
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				config.Outbox, config.MetadataInPayload = memory.New(), true
				client := startTestClient(t, config)
				p, end := begin(t, client, core.Options{AfterResponse: mode, Attributes: func(*http.Request) map[string]any {
					return map[string]any{core.MessageIDAttribute: "replaced", "zone": "z"}
				}})
				var want []string
				for range 2 {
					receipt, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithMessageID(), core.WithAttribute(core.MessageIDAttribute, "replaced"),
						core.WithMetadata(core.MessageIDAttribute, "replaced"), core.WithMetadata("a", 1))
					require.NoError(t, err)
					require.Len(t, receipt.IDs, 1)
					want = append(want, receipt.IDs...)
				}
				receipt, err := p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}}, core.WithMessageID())
				require.NoError(t, err)
				require.Len(t, receipt.IDs, 2)
				want = append(want, receipt.IDs...)
				end(200)
				time.Sleep(time.Second) // the relay's and the queue's time
				synctest.Wait()
				assert.ElementsMatch(t, want, metadataIDs(t, payloadsOf(server, "orders")))
				for _, message := range server.MessagesOf("orders") {
					assert.Equal(t, `{}`, string(message.Attributes))
					metadata, rest := metadataOf(t, string(message.Payload))
					assert.Equal(t, `{}`, rest)
					assert.Equal(t, "z", metadata["zone"])
				}
			})
		})
	}
}

// postsOf counts the requests with messages.
func postsOf(server *postofficetest.Server) int {
	posts := 0
	for _, request := range server.Requests() {
		if strings.Contains(request.Path, "messages") {
			posts++
		}
	}
	return posts
}

func TestMessagesWithMetadataShareRequests(t *testing.T) {
	const n = 1000
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				config.Outbox, config.MetadataInPayload = memory.New(), true
				client := startTestClient(t, config)
				p := publisherIn(t, client, mode)
				if mode == core.Off {
					_, err := p.PublishBulk(t.Context(), "orders", numbered(n), core.WithMessageID())
					require.NoError(t, err)
				} else {
					for i := range n {
						_, err := p.Publish(t.Context(), "orders", map[string]int{"n": i}, core.WithMessageID(), core.WithMetadata("request", i), core.WithAttribute("kind", "paid"))
						require.NoError(t, err)
					}
				}
				require.NoError(t, client.Flush(t.Context()))
				time.Sleep(time.Second)
				synctest.Wait()
				assert.Len(t, unique(metadataIDs(t, payloadsOf(server, "orders"))), n)
				assert.LessOrEqual(t, postsOf(server), 4)
			})
		})
	}
}

func unique(list []string) map[string]bool {
	set := map[string]bool{}
	for _, item := range list {
		set[item] = true
	}
	return set
}

// The rows of an outbox keep the metadata in their payloads, so the relay posts
// many of them in one request.
func TestRelayDrainsRowsWithIDsInBulks(t *testing.T) {
	const n = 1000
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := memory.New()
				config.Outbox, config.MetadataInPayload = store, true
				down := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: store, MetadataInPayload: true})
				p := publisherIn(t, down, mode)
				var want []string
				for i := range n {
					receipt, err := p.Publish(t.Context(), "orders", map[string]int{"n": i}, core.WithMessageID())
					require.NoError(t, err)
					want = append(want, receipt.IDs...)
				}
				require.NoError(t, down.Stop(t.Context()))
				rows := records(t, store)
				require.Len(t, rows, n)
				for _, row := range rows {
					metadata, _ := metadataOf(t, string(row.Payload))
					require.Equal(t, map[string]string{core.MessageIDAttribute: row.ID}, metadata)
					require.Equal(t, `{}`, string(row.Attributes))
				}
				// They become due without the backoff of their first attempt.
				fresh := memory.New()
				for i := range rows {
					rows[i].Attempts, rows[i].LeaseToken = 0, ""
				}
				require.NoError(t, fresh.Insert(t.Context(), 0, rows...))
				config.Outbox = fresh
				startTestClient(t, config)
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Empty(t, records(t, fresh))
				assert.ElementsMatch(t, want, metadataIDs(t, payloadsOf(server, "orders")))
				assert.LessOrEqual(t, postsOf(server), 4)
			})
		})
	}
}

func TestRecoveryListsMetadataInThePayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: refusing}, Outbox: memory.New(),
			OriginHost: "http://us:pw@app", MetadataInPayload: true})
		receipt, err := client.Publish(t.Context(), "orders", map[string]int{"n": 1}, core.WithMessageID())
		require.NoError(t, err)
		require.Equal(t, core.Stored, receipt.State)
		time.Sleep(time.Hour)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, core.DefaultRecoveryPath, nil)
		r.SetBasicAuth("us", "pw")
		answer := httptest.NewRecorder()
		client.RecoveryHandler().ServeHTTP(answer, r)
		var list []struct{ Payload json.RawMessage }
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &list), answer.Body.String())
		require.Len(t, list, 1)
		assert.Equal(t, `{"_postoffice":{"message_id":"`+receipt.IDs[0]+`"},"n":1}`, string(list[0].Payload))
	})
}

func TestDedupKeyIsMetadata(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox, config.MetadataInPayload = store, true
		client := startTestClient(t, config)
		for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
			receipt, err := publisherIn(t, client, mode).Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("4711 paid"), core.WithMessageID())
			require.NoError(t, err)
			require.Len(t, receipt.IDs, 1)
			assert.NotEqual(t, paidID, receipt.IDs[0])
			time.Sleep(time.Second)
			synctest.Wait()
		}
		assert.Equal(t, []string{paidID, paidID, paidID}, metadataIDs(t, payloadsOf(server, "orders")))
	})
}

func TestPublishTxStoresMetadataInThePayload(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Outbox: &txStore{Store: memory.New()}, MetadataInPayload: true})
	tx := &fakeTx{}
	receipt, err := client.PublishTx(t.Context(), tx, "orders", struct{}{}, core.WithMessageID(), core.WithMetadata("a", 1), core.WithAttribute("b", 2))
	require.NoError(t, err)
	require.Len(t, tx.records, 1)
	assert.Equal(t, receipt.IDs[0], tx.records[0].ID)
	assert.Equal(t, `{"_postoffice":{"a":"1","message_id":"`+receipt.IDs[0]+`"}}`, string(tx.records[0].Payload))
	assert.Equal(t, `{"b":"2"}`, string(tx.records[0].Attributes))
}

// The paths and texts of problems are about the caller's own payload.
func TestProblemsOfPayloadsWithMetadata(t *testing.T) {
	for name, test := range map[string]struct {
		payload       any
		path, problem string
	}{
		"NUL":       {map[string]any{"a": []any{1, "SECRET\x00"}}, "payload.a[1]", "contains a NUL"},
		"number":    {json.RawMessage(`{"x":{"y":1e999}}`), "payload.x.y", "too large for a double"},
		"UTF-8":     {map[string]string{"a": "\xff"}, "payload.a", "not valid UTF-8"},
		"malformed": {json.RawMessage(`{"a":SECRET}`), "payload", "not valid JSON at byte 6"},
		"list":      {[]int{1}, "payload", "encodes to a JSON list"},
		"null":      {map[string]int(nil), "payload", "encodes to null"},
		"lost":      {strings.NewReader("SECRET"), "payload", "none of its content would be sent"},
		"NaN":       {map[string]float64{"a": math.NaN()}, "payload.a", "is not a finite number"},
		"size":      {map[string]string{"a": strings.Repeat("x", maxMessageBytes)}, "payload", "is too large: 7000008 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: taking}, MetadataInPayload: true})
			for _, mode := range []core.Mode{core.Off, core.Memory} {
				_, err := publisherIn(t, client, mode).Publish(t.Context(), "orders", test.payload, core.WithMessageID(), core.WithMetadata("m", "v"))
				isField(t, err, core.ErrInvalidMessage, test.path)
				assert.ErrorContains(t, err, test.problem)
				assert.NotContains(t, err.Error(), "SECRET")
			}
		})
	}
}

func TestProblemsOfMetadata(t *testing.T) {
	bothSettings(t, func(t *testing.T, config core.Config) {
		config.URL = testServer
		client := newTestClient(t, config)
		for _, test := range []struct {
			option core.PublishOption
			path   string
		}{
			{core.WithMetadata("m", nil), `metadata["m"]`},
			{core.WithMetadata("", "SECRET"), `metadata[""]`},
			{core.WithMetadata("m", "SECRET\x00"), `metadata["m"]`},
			{core.WithMetadata("m", []byte("SECRET")), `metadata["m"]`},
			{core.WithAttribute("m", nil), `attributes["m"]`},
		} {
			_, err := client.Publish(t.Context(), "orders", struct{}{}, test.option)
			isField(t, err, core.ErrInvalidMessage, test.path)
			assert.NotContains(t, err.Error(), "SECRET")
		}
		p, _ := begin(t, client, core.Options{Attributes: func(*http.Request) map[string]any {
			return map[string]any{"b": 1, "c": nil, "d": []byte("SECRET")}
		}})
		for range 2 {
			_, err := p.Publish(t.Context(), "orders", struct{}{})
			isField(t, err, core.ErrInvalidMessage, `attributes["c"]`)
			_, err = p.Publish(t.Context(), "orders", struct{}{}, core.WithAttribute("c", 1))
			isField(t, err, core.ErrInvalidMessage, `attributes["d"]`)
		}
	})
}

func TestMetadataCountsTowardsTheSize(t *testing.T) {
	const metadata = `"_postoffice":{"m":"v"},`
	client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: taking}, MetadataInPayload: true,
		Batching: core.Batching{MaxBytes: 20_000_000}})
	fits := maxMessageBytes - len(`{"a":""}`) - len(metadata) - len("orders") - len("{}")
	for _, mode := range []core.Mode{core.Off, core.Memory} {
		p := publisherIn(t, client, mode)
		_, err := p.Publish(t.Context(), "orders", map[string]string{"a": strings.Repeat("x", fits)}, core.WithMetadata("m", "v"))
		require.NoError(t, err)
		_, err = p.Publish(t.Context(), "orders", map[string]string{"a": strings.Repeat("x", fits+1)}, core.WithMetadata("m", "v"))
		isField(t, err, core.ErrInvalidMessage, "payload")
		assert.ErrorContains(t, err, "is too large: 7000001 bytes")
	}
}

// An app's encoder may write white space, also in an object without members.
func TestMetadataBeforeWhatMarshalWrites(t *testing.T) {
	for text, want := range map[string]string{
		" {} ":             `{"_postoffice":{"m":"1"}}`,
		"{ \n }":           `{"_postoffice":{"m":"1"}}`,
		"{\n  \"a\": 1\n}": "{\"_postoffice\":{\"m\":\"1\"},\n  \"a\": 1\n}",
	} {
		client := newTestClient(t, core.Config{URL: testServer, Outbox: &txStore{Store: memory.New()}, MetadataInPayload: true,
			Marshal: func(any) ([]byte, error) { return []byte(text), nil }})
		tx := &fakeTx{}
		_, err := client.PublishTx(t.Context(), tx, "orders", 1, core.WithMetadata("m", 1))
		require.NoError(t, err)
		assert.Equal(t, want, string(tx.records[0].Payload))
		assert.Equal(t, outbox.Pending, tx.records[0].State)
	}
}
