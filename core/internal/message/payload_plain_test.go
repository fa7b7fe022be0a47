package message

import (
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	plainInner struct{ Name string }
	plainOuter struct {
		plainInner
		ID     int64 `json:"id"`
		Price  float64
		At     time.Time
		Wait   time.Duration
		Tags   []string
		ByName map[string][2]plainInner
		Next   *plainInner
	}
	recursive   struct{ Next *recursive }
	withAny     struct{ Value any }
	withRaw     struct{ Value json.RawMessage }
	withNumber  struct{ Value json.Number }
	withBig     struct{ Value *big.Int }
	withPointer struct{ Value pointerMarshaler }
	deepAny     struct{ Values map[string][]withAny }
)

// pointerMarshaler has its marshaler on the pointer.
type pointerMarshaler struct{}

func (*pointerMarshaler) MarshalJSON() ([]byte, error) { return []byte(`1e400`), nil }

func TestPlainTypes(t *testing.T) {
	for _, payload := range []any{plainOuter{}, &plainOuter{}, map[string]int{}, map[int]string{}, struct{}{}, []plainInner{}} {
		assert.True(t, hasPlainType(reflect.TypeOf(payload)), "%T", payload)
		assert.True(t, hasPlainType(reflect.TypeOf(payload)), "%T, from memory", payload)
	}
	for _, payload := range []any{
		map[string]any{}, recursive{}, withAny{}, withRaw{}, withNumber{}, withBig{}, withPointer{}, deepAny{},
		json.RawMessage{}, json.Number(""), big.NewFloat(0),
	} {
		assert.False(t, hasPlainType(reflect.TypeOf(payload)), "%T", payload)
	}
}

func TestPlainPayloadsAreStillChecked(t *testing.T) {
	for name, text := range map[string]string{"NUL": "a\x00", "invalid UTF-8": "a\xff"} {
		_, err := encodePayload("payload", plainOuter{plainInner: plainInner{text}})
		require.Error(t, err, name)
		_, err = encodePayload("payload", map[string]string{text: ""})
		require.Error(t, err, name+" in a key")
	}
	for _, text := range []string{"\ufffd", `\`, `"`, "ä", "</b>", "\n"} {
		encoded, err := encodePayload("payload", plainInner{text})
		require.NoError(t, err, "%q", text)
		var back plainInner
		require.NoError(t, json.Unmarshal(encoded, &back))
		assert.Equal(t, text, back.Name)
	}
}
