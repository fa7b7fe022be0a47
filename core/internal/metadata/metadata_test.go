package metadata_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
)

func TestCut(t *testing.T) {
	for payload, want := range map[string][2]string{
		`{"_postoffice":{"a":"1"},"id":7}`:                       {`{"id":7}`, `{"a":"1"}`},
		`{"_postoffice":{"a":"1"}}`:                              {`{}`, `{"a":"1"}`},
		`{"id":7,"_postoffice":{"a":"1"}}`:                       {`{"id":7}`, `{"a":"1"}`},
		`{"id":7,"_postoffice":{"a":"1"},"b":[1]}`:               {`{"id":7,"b":[1]}`, `{"a":"1"}`},
		`{"\u005fpostoffice":{},"id":7}`:                         {`{"id":7}`, `{}`},
		" { \"_postoffice\" : {\"a\":\"1\"} , \"id\" : 7 } ":     {" {  \"id\" : 7 } ", `{"a":"1"}`},
		`{"_postoffice":{"a":"1"},"id":7,"_postoffice":"other"}`: {`{"id":7,"_postoffice":"other"}`, `{"a":"1"}`},
		`{"_postoffice":"other","_postoffice":{"a":"1"}}`:        {`{"_postoffice":"other","_postoffice":{"a":"1"}}`, ``},
		`{"_postoffice":{"a":1},"id":7}`:                         {`{"_postoffice":{"a":1},"id":7}`, ``},
		`{"id":{"_postoffice":{"a":"1"}}}`:                       {`{"id":{"_postoffice":{"a":"1"}}}`, ``},
		`["_postoffice",{"a":"1"}]`:                              {`["_postoffice",{"a":"1"}]`, ``},
		`{`:                                                      {`{`, ``},
		``:                                                       {``, ``},
		`no JSON`:                                                {`no JSON`, ``},
	} {
		rest, found := metadata.Cut([]byte(payload))
		assert.Equal(t, want, [2]string{string(rest), string(found)}, payload)
		if json.Valid([]byte(payload)) {
			assert.True(t, json.Valid(rest), "%s", rest)
		}
	}
}

// TestCutOfABeginning has payloads that are cut off at each byte: metadata are
// found as soon as they are whole.
func TestCutOfABeginning(t *testing.T) {
	const head, tail = `{"_postoffice":{"a":"1","b":"é"}`, `,"id":"é","list":[1,2,{"c":null}]}`
	for i := range len(head + tail) {
		payload := (head + tail)[:i]
		rest, found := metadata.Cut([]byte(payload))
		if i < len(head) {
			assert.Empty(t, found, payload)
			assert.Equal(t, payload, string(rest))
			continue
		}
		assert.Equal(t, `{"a":"1","b":"é"}`, string(found), payload)
		want := payload[len(head):]
		if want != "" {
			want = want[len(","):]
		}
		assert.Equal(t, "{"+want, string(rest))
	}
}

func TestCutKeepsThePayload(t *testing.T) {
	payload := []byte(`{"_postoffice":{"a":"1"},"id":7}`)
	rest, found := metadata.Cut(payload)
	require.NotEmpty(t, found)
	rest[1] = 'x'
	assert.Equal(t, `{"_postoffice":{"a":"1"},"id":7}`, string(payload))
}
