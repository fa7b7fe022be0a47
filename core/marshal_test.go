package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

func TestMarshalEncodesPayloads(t *testing.T) {
	server := newServer(t, "orders")
	buffer := make([]byte, 0, 100)
	client := newTestClient(t, core.Config{URL: server.URL(), Marshal: func(payload any) ([]byte, error) {
		buffer = fmt.Appendf(buffer[:0], " \n{ \"of\" : \"%v\" }\t\r\n", payload)
		return buffer, nil
	}})
	memory := publisherIn(t, client, core.Memory)
	for i := range 3 {
		_, err := memory.Publish(t.Context(), "orders", i)
		require.NoError(t, err)
	}
	require.NoError(t, client.Flush(t.Context()))
	_, err := client.PublishBulk(t.Context(), "orders", []any{struct{ A int }{3}, errors.New("4")})
	require.NoError(t, err)
	_, err = client.Publish(t.Context(), "orders", json.Number("5"))
	require.NoError(t, err)
	clear(buffer[:cap(buffer)])
	var got []string
	for _, payload := range payloadsOf(server, "orders") {
		var text bytes.Buffer
		require.NoError(t, json.Compact(&text, []byte(payload)))
		got = append(got, text.String())
	}
	assert.ElementsMatch(t, []string{`{"of":"0"}`, `{"of":"1"}`, `{"of":"2"}`, `{"of":"{3}"}`, `{"of":"4"}`, `{"of":"5"}`}, got)
}

// encoderError is an error with a value in its text.
type encoderError struct{}

func (encoderError) Error() string { return "cannot encode SECRET" }

func TestMarshalIsChecked(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1000) + "{}" + strings.Repeat("}", 1000)
	for name, test := range map[string]struct{ text, path, problem string }{
		"nothing":         {"", "", "encodes to nothing"},
		"space":           {" \n", "", "encodes to nothing"},
		"null":            {"null", "", "encodes to null"},
		"list":            {`["SECRET"]`, "", "encodes to a JSON list"},
		"text":            {`"SECRET"`, "", "encodes to a JSON string"},
		"no JSON":         {`SECRET`, "", "is not valid JSON at byte 1"},
		"byte order mark": {"\ufeff{}", "", "is not valid JSON at byte 1"},
		"two":             {`{} {"SECRET":1}`, "", "is not valid JSON at byte 4"},
		"cut off":         {`{"a":"SECRET`, "", "is not valid JSON"},
		"comma":           {`{"a":1,}`, "", "is not valid JSON at byte 8"},
		"no comma":        {`{"a":1 "SECRET":2}`, "", "is not valid JSON at byte 8"},
		"brackets":        {`{"a":[1}]`, "", "is not valid JSON at byte 8"},
		"literal":         {`{"a":nul}`, "", "is not valid JSON"},
		"number":          {`{"a":01}`, "", "is not valid JSON"},
		"NaN":             {`{"a":NaN}`, "", "is not valid JSON"},
		"key":             {`{a:1}`, "", "is not valid JSON at byte 2"},
		"escape":          {`{"a":"\x00"}`, "", "is not valid JSON"},
		"short escape":    {`{"a":"\u12"}`, "", "is not valid JSON"},
		"control":         {"{\"a\":\"x\ny\"}", "", "is not valid JSON"},
		"NUL":             {`{"a":["\u0000"]}`, ".a[0]", "contains a NUL"},
		"UTF-8":           {"{\"a\":\"SECRET\xff\"}", ".a", "is not valid UTF-8"},
		"surrogate":       {`{"a":"\ud800"}`, ".a", "lone surrogate"},
		"digits":          {`{"a":` + strings.Repeat("9", 5001) + `}`, ".a", "more than 5,000 integer digits"},
		"double":          {`{"a":1e999}`, ".a", "too large for a double"},
		"depth":           {deep, "", "nested too deeply"},
		"key reserved":    {` {"_postoffice":{}}`, "._postoffice", "reserved"},
		"escaped key":     {`{"_\u0070ostoffice":{}}`, "._postoffice", "reserved"},
		"size":            {`{"a":"` + strings.Repeat("x", maxMessageBytes) + `"}`, "", "is too large: 7000008 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			bothSettings(t, func(t *testing.T, config core.Config) {
				config.URL, config.Outbox = testServer, &txStore{Store: memory.New()}
				config.Marshal = func(any) ([]byte, error) { return []byte(test.text), nil }
				client := newTestClient(t, config)
				// A plain type, whose encoding by encoding/json needs no check.
				_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{ A int }{1})
				isField(t, err, core.ErrInvalidMessage, "payload"+test.path)
				assert.ErrorContains(t, err, test.problem)
				assert.NotContains(t, err.Error(), "SECRET")
			})
		})
	}
}

func TestFailuresOfMarshalAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		marshal func(any) ([]byte, error)
		problem string
		wraps   bool
	}{
		"error":       {func(any) ([]byte, error) { return nil, encoderError{} }, "Config.Marshal fails with core_test.encoderError", true},
		"panic":       {func(any) ([]byte, error) { panic("SECRET") }, "Config.Marshal panics with string", false},
		"panic error": {func(any) ([]byte, error) { panic(encoderError{}) }, "Config.Marshal panics with core_test.encoderError", true},
		"runtime": {func(payload any) ([]byte, error) { return payload.(asRaw).MarshalJSON() },
			"Config.Marshal panics with *runtime.TypeAssertionError", false},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: taking}, Marshal: test.marshal})
			for _, mode := range []core.Mode{core.Off, core.Memory} {
				_, err := publisherIn(t, client, mode).PublishBulk(t.Context(), "orders", []any{struct{}{}})
				isField(t, err, core.ErrInvalidMessage, "payload[0]")
				_, err = publisherIn(t, client, mode).Publish(t.Context(), "orders", struct{}{})
				isField(t, err, core.ErrInvalidMessage, "payload")
				assert.ErrorContains(t, err, "payload is struct {}, and "+test.problem)
				assert.NotContains(t, err.Error(), "SECRET")
				assert.Equal(t, test.wraps, errors.Is(err, encoderError{}))
			}
		})
	}
}

// A payload that is refused for what it is does not reach the encoder.
func TestMarshalGetsNoText(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer, Marshal: func(any) ([]byte, error) {
		t.Error("called")
		return nil, nil
	}})
	for _, payload := range []any{nil, "{}", []byte("{}")} {
		_, err := client.Publish(t.Context(), "orders", payload)
		isField(t, err, core.ErrInvalidMessage, "payload")
	}
}
