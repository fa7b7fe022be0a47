package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// received posts a body to a handler of payloads of a type, which must take
// it, and returns the message.
func received[T any](t *testing.T, body string, options ...delivery.Option) delivery.Message[T] {
	t.Helper()
	messages := make(chan delivery.Message[T], 1)
	url := serve(t, delivery.Handler(func(_ context.Context, m delivery.Message[T]) error {
		messages <- m
		return nil
	}, options...))
	got := post(t, url, body)
	require.Equal(t, 204, got.status, got.body)
	require.Empty(t, got.body)
	return <-messages
}

func TestMessage(t *testing.T) {
	before := time.Now()
	m := received[order](t, message, delivery.WithTopic("orders"))
	assert.Equal(t, "9114", m.ID)
	assert.Equal(t, "orders", m.Topic)
	assert.Equal(t, order{ID: 7}, m.Payload)
	assert.Equal(t, map[string]string{"region": "north"}, m.Attributes)
	assert.WithinRange(t, m.Received, before, time.Now())
}

// decimal is a number of any precision, as a string.
type decimal struct{ text string }

func (d *decimal) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &d.text); err != nil {
		return err
	}
	if strings.Trim(d.text, "0123456789.") != "" {
		return errors.New("secret " + d.text)
	}
	return nil
}

func TestPayloadTypes(t *testing.T) {
	const body = `{ "id" : 12345678901234567890, "attributes":{"a":"b"}, "at":"2026-11-23T12:00:00.5+02:00","price":"0.10", "list":[1,{"attributes":1}] }`
	const payload = `{"id" : 12345678901234567890,"at":"2026-11-23T12:00:00.5+02:00","price":"0.10","list":[1,{"attributes":1}]}`
	t.Run("Struct", func(t *testing.T) {
		type invoice struct {
			ID         uint64
			At         time.Time
			Price      decimal
			Attributes map[string]string // must not get what is the message's
			Missing    *int
		}
		got := received[invoice](t, body).Payload
		assert.True(t, got.At.Equal(time.Date(2026, 11, 23, 10, 0, 0, 5e8, time.UTC)))
		got.At = time.Time{}
		assert.Equal(t, invoice{ID: 12345678901234567890, Price: decimal{"0.10"}}, got)
		assert.Equal(t, uint64(12345678901234567890), received[*invoice](t, body).Payload.ID)
	})
	t.Run("RawMessage", func(t *testing.T) {
		assert.Equal(t, payload, string(received[json.RawMessage](t, body).Payload))
	})
	t.Run("Map", func(t *testing.T) {
		got := received[map[string]any](t, body).Payload
		assert.NotContains(t, got, "attributes")
		assert.Equal(t, json.Number("12345678901234567890"), got["id"], "every digit is kept")
		assert.Equal(t, []any{json.Number("1"), map[string]any{"attributes": json.Number("1")}}, got["list"])
		assert.Equal(t, got, received[any](t, body).Payload)
		fields := received[map[string]json.RawMessage](t, body).Payload
		assert.Equal(t, "12345678901234567890", string(fields["id"]))
	})
}

// TestNumbersWithoutAType shows that a number keeps its digits wherever the
// payload's type names no type for it, and is of the type where it does.
func TestNumbersWithoutAType(t *testing.T) {
	const body = `{"any":9007199254740993,"list":[9007199254740993,{"n":1e400}],"typed":[9007199254740993],"float":0.5,"attributes":{}}`
	type loose struct {
		Any   any            `json:"any"`
		List  []any          `json:"list"`
		Typed []int64        `json:"typed"`
		Float float64        `json:"float"`
		Named map[string]any `json:"named"`
	}
	const digits = json.Number("9007199254740993")
	assert.Equal(t, loose{
		Any: digits, List: []any{digits, map[string]any{"n": json.Number("1e400")}}, Typed: []int64{9007199254740993}, Float: 0.5,
	}, received[loose](t, body).Payload)
	assert.Equal(t, map[string][]any{"list": {digits}}, received[map[string][]any](t, `{"list":[9007199254740993]}`).Payload)
	assert.Equal(t, map[string]float64{"n": 1.5}, received[map[string]float64](t, `{"n":1.5}`).Payload)
}

func TestAttributes(t *testing.T) {
	for body, want := range map[string]map[string]string{
		`{"id":7}`:                     {},
		`{"id":7,"attributes":null}`:   {},
		`{"id":7,"attributes":{}}`:     {},
		`{"attributes":{"a":"é\n"}}`:   {"a": "é\n"},
		`{"attributes":{},"id":7}`:     {},
		" {\n\"attributes\" : {} } \n": {},
		`{"attributes":{"n":1.50,"b":true,"z":null,"o":{"x":[1]},"s":"1"}}`:       {"n": "1.50", "b": "true", "z": "null", "o": `{"x":[1]}`, "s": "1"},
		`{"\u0061ttributes":{"a":"escaped"}}`:                                     {"a": "escaped"},
		`{"a":1,"attributes":{"a":"1"},"b":{},"attributes":{"a":"last"},"c":"}"}`: {"a": "last"},
	} {
		m := received[map[string]any](t, body)
		assert.Equal(t, want, m.Attributes, body)
		assert.NotContains(t, m.Payload, "attributes", body)
	}
}

func TestMessageWithoutID(t *testing.T) {
	ids := make(chan string, 1)
	url, _ := consumer(t, func(_ context.Context, m delivery.Message[order]) error {
		ids <- m.ID
		return nil
	})
	require.Equal(t, 204, post(t, url, message, "message-id", "").status)
	assert.Empty(t, <-ids)
}

// undecodable are bodies with their errors: the field, and the reason.
var undecodable = map[string]string{
	``:                                  "body is not valid JSON: it ends too early",
	`secret`:                            "body is not valid JSON at byte 1",
	`{"id":7`:                           "body is not valid JSON: it ends too early",
	`{"id":secret}`:                     "body is not valid JSON",
	`{"id":7}{}`:                        "body continues after its JSON object",
	`{"id":7}]`:                         "body continues after its JSON object",
	`[]`:                                "body is not a JSON object",
	`null`:                              "body is not a JSON object",
	`"secret"`:                          "body is not a JSON object",
	`{"id":"secret"}`:                   "payload.id is string, which does not fit int",
	`{"id":1.9876}`:                     "payload.id is number, which does not fit int",
	`{"id":7,"attributes":"secret"}`:    "attributes is string, which does not fit",
	`{"id":7,"attributes":["secret"]}`:  "attributes is array, which does not fit",
	`{"id":7,"price":"secret"}`:         "payload is rejected by its type",
	`{"id":7,"at":"secret"}`:            "payload is rejected by its type",
	`{"id":7,"inner":{"list":["s",1]}}`: "payload.inner.list is number, which does not fit string",
	strings.Repeat(`{"a":`, 20_000):     "body is not valid JSON",
}

// picky is a payload that refuses much.
type picky struct {
	ID    int       `json:"id"`
	Price decimal   `json:"price"`
	At    time.Time `json:"at"`
	Inner struct {
		List []string `json:"list"`
	} `json:"inner"`
}

func pickyHandler(t *testing.T, reported *problems, options ...delivery.Option) string {
	t.Helper()
	options = append([]delivery.Option{quiet(), delivery.WithTopic("orders"), delivery.WithOnError(reported.add)}, options...)
	return serve(t, delivery.Handler(func(context.Context, delivery.Message[picky]) error {
		t.Error("the function was called")
		return nil
	}, options...))
}

// TestUndecodableIsKept checks the default: the server keeps the message, and
// the problem is told without a value of the message.
func TestUndecodableIsKept(t *testing.T) {
	var reported problems
	url := pickyHandler(t, &reported)
	for body, says := range undecodable {
		got := post(t, url+"/path", body)
		assert.Equal(t, 400, got.status, "%.100s", body)
		list := reported.take()
		require.Len(t, list, 1)
		problem := list[0]
		assert.Equal(t, delivery.Problem{
			Kind: delivery.NotDecoded, Topic: "orders", ID: "9114", Path: "/path", Status: 400, Err: problem.Err,
		}, problem)
		require.ErrorContains(t, problem.Err, says, "%.100s", body)
		_, ok := errors.AsType[*delivery.DecodeError](problem.Err)
		assert.True(t, ok)
		for _, secret := range []string{"secret", "9876"} {
			assert.NotContains(t, problem.Err.Error()+got.body, secret, "%.100s", body)
		}
	}
}

func TestWithUndecodable(t *testing.T) {
	var taken []delivery.Undecodable
	var result func() error
	take := func(_ context.Context, m delivery.Undecodable) error {
		taken = append(taken, m)
		return result()
	}
	var reported problems
	url := pickyHandler(t, &reported, delivery.WithUndecodable(take))
	full := errors.New("full")
	for name, test := range map[string]struct {
		result func() error
		status int
		err    error
	}{
		"PutAside": {func() error { return nil }, 204, nil},
		"Fails":    {func() error { return full }, 500, full},
		"Panics":   {func() error { panic(full) }, 500, full},
	} {
		t.Run(name, func(t *testing.T) {
			for body := range undecodable {
				taken, result = nil, test.result
				assert.Equal(t, test.status, post(t, url, body).status)
				require.Len(t, taken, 1)
				assert.Equal(t, body, string(taken[0].Body))
				assert.Equal(t, "9114", taken[0].ID)
				assert.Equal(t, "orders", taken[0].Topic)
				assert.NotZero(t, taken[0].Received)
				_, ok := errors.AsType[*delivery.DecodeError](taken[0].Err)
				assert.True(t, ok)
				list := reported.take()
				require.Len(t, list, 1, "reported all the same")
				assert.Equal(t, test.status, list[0].Status)
				assert.Equal(t, delivery.NotDecoded, list[0].Kind)
				require.ErrorIs(t, list[0].Err, taken[0].Err)
				if test.err != nil {
					require.ErrorIs(t, list[0].Err, test.err)
				}
			}
		})
	}
}

func TestStrict(t *testing.T) {
	const body = `{"id":7,"color":"secret","attributes":{}}`
	received[order](t, body)
	received[order](t, message, delivery.WithStrict())
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error { return nil }, delivery.WithStrict())
	got := post(t, url, body)
	require.Equal(t, 400, got.status)
	assert.Equal(t, "message cannot be decoded: payload has an unexpected field: \"color\"\n", got.body)
	list := reported.take()
	require.Len(t, list, 1)
	require.EqualError(t, list[0].Err, `delivery: payload has an unexpected field: "color"`)

	// Other answers say nothing of the payload or the type.
	got = post(t, url, `{"id":"secret","attributes":{}}`)
	require.Equal(t, 400, got.status)
	assert.Equal(t, "message cannot be decoded\n", got.body)
}
