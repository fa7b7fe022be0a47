package wire

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseAnswers(t *testing.T) {
	for text, want := range map[string][]int64{
		`{"id":[]}`:                    {},
		`{"id":[7]}`:                   {7},
		`{"id":[12,11,0]}`:             {12, 11, 0},
		`{"id":[9223372036854775807]}`: {9223372036854775807},
		` { "id" : [ 12 , 11 ] , "more": true } `: {12, 11},
		`{"id":[-1]}`:                   {-1},
		`{"id":[1]`:                     nil,
		`{"id":[,]}`:                    nil,
		`{"id":[1,]}`:                   nil,
		`{"id":[01]}`:                   nil,
		`{"id":[1.5]}`:                  nil,
		`{"id":["1"]}`:                  nil,
		`{"id":[99999999999999999999]}`: nil,
		`{"id":null}`:                   nil,
		`{}`:                            nil,
		`<html>`:                        nil,
		``:                              nil,
	} {
		assert.Equal(t, want, ParseMessageAnswer([]byte(text)), text)
	}
	assert.Equal(t, []int64{3, 2}, ParseBulkAnswer([]byte(`{"result":[3,2]}`)))
	assert.Equal(t, []int64{3, 2}, ParseBulkAnswer([]byte(`{"result": [3, 2]}`)))
	assert.Nil(t, ParseBulkAnswer([]byte(`{"id":[3,2]}`)))
}

func FuzzParseMessageAnswer(f *testing.F) {
	for _, seed := range []string{`{"id":[12,11]}`, `{"id":[]}`, `{"id":[0,00]}`, `{"id":[1,,2]}`, `{"id":[1]}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ids, ok := parseIDs(text, `{"id":[`)
		if !ok {
			return
		}
		var want MessageAnswer
		if err := json.Unmarshal(text, &want); err != nil || !slices.Equal(want.ID, ids) {
			t.Errorf("%q: read %v, and encoding/json says %v, %v", text, ids, want.ID, err)
		}
	})
}
