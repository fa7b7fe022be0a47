package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseErrors(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want map[string][]string
	}{
		"field":               {`{"data":{"errors":{"topic":["is invalid"]}}}`, map[string][]string{"topic": {"is invalid"}}},
		"fields":              {`{"data":{"errors":{"a":["x","y"],"b":["z"]}}}`, map[string][]string{"a": {"x", "y"}, "b": {"z"}}},
		"text":                {`{"data":{"errors":"Topic does not exist"}}`, map[string][]string{DetailKey: {"Topic does not exist"}}},
		"detail":              {`{"errors":{"detail":"Internal Server Error"}}`, map[string][]string{DetailKey: {"Internal Server Error"}}},
		"text for a field":    {`{"errors":{"name":"taken"}}`, map[string][]string{"name": {"taken"}}},
		"list":                {`{"data":{"errors":["x",["y",null],5]}}`, map[string][]string{DetailKey: {"x", "y", "5"}}},
		"number for a field":  {`{"errors":{"code":17}}`, map[string][]string{"code": {"17"}}},
		"long number":         {`{"errors":{"id":9007199254740993}}`, map[string][]string{"id": {"9007199254740993"}}},
		"keys beside":         {`{"id":1,"data":{"errors":"x","id":2}}`, map[string][]string{DetailKey: {"x"}}},
		"field without text":  {`{"errors":{"a":null,"b":[],"c":"x"}}`, map[string][]string{"c": {"x"}}},
		"empty":               {``, nil},
		"no JSON":             {`<html>Bad Gateway</html>`, nil},
		"cut off":             {`{"data":{"errors":"x`, nil},
		"other shape":         {`{"data":{}}`, nil},
		"list of things":      {`[{"errors":"x"}]`, nil},
		"text alone":          {`"errors"`, nil},
		"null":                {`null`, nil},
		"null errors":         {`{"errors":null}`, nil},
		"no reasons":          {`{"data":{"errors":{}}}`, nil},
		"no reason for field": {`{"data":{"errors":{"a":[null]}}}`, nil},
		"long text":           {`{"errors":{"detail":"` + strings.Repeat("é", 100) + `é"}}`, map[string][]string{"detail": {strings.Repeat("é", 100) + "…"}}},
		"cut character":       {`{"errors":"x` + strings.Repeat("é", 100) + `"}`, map[string][]string{"detail": {"x" + strings.Repeat("é", 99) + "…"}}},
		"many reasons":        {`{"errors":{"a":["1","2","3","4","5","6"]}}`, map[string][]string{"a": {"1", "2", "3", "4", "5"}}},
		"many fields": {`{"errors":{"a":"x","b":"x","c":"x","d":"x","e":"x","f":"x","g":"x","h":"x","i":"x","j":"x","k":"x"}}`, map[string][]string{
			"a": {"x"}, "b": {"x"}, "c": {"x"}, "d": {"x"}, "e": {"x"}, "f": {"x"}, "g": {"x"}, "h": {"x"}, "i": {"x"}, "j": {"x"},
		}},
		"deep": {`{"errors":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, ParseErrors([]byte(test.body)))
		})
	}
}

func FuzzParseErrors(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"data":{"errors":{"topic":["is invalid"]}}}`, `{"data":{"errors":"x"}}`, `{"errors":{"detail":"x"}}`,
		`{"data":null,"errors":[[],{}]}`, `{"errors":{"":[1e999,"\ud800"]}}`, "{\"errors\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		reasons := ParseErrors(body)
		require.Equal(t, before, body)
		if reasons == nil {
			return
		}
		require.True(t, json.Valid(body))
		require.NotEmpty(t, reasons)
		for field, texts := range reasons {
			require.NotEmpty(t, texts, "field %q", field)
			require.LessOrEqual(t, len(field), maxText+len("…"))
			for _, text := range texts {
				require.LessOrEqual(t, len(text), maxText+len("…"))
			}
		}
	})
}
