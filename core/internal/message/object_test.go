package message

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAppendWithID(t *testing.T) {
	for _, test := range []struct {
		names []string
		want  string
	}{
		{nil, `{"message_id":"i"}`},
		{[]string{"message_id"}, `{"message_id":"i"}`},
		{[]string{"a"}, `{"a":"","message_id":"i"}`},
		{[]string{"z"}, `{"message_id":"i","z":""}`},
		{[]string{"z", "message_id", "a", "n"}, `{"a":"","message_id":"i","n":"","z":""}`},
	} {
		for _, encoder := range []*Encoder{NewEncoder(nil, false), NewEncoder(nil, true)} {
			var sets []AttributeSet
			for _, name := range test.names {
				sets = append(sets, AttributeSet{Single: true, Name: name, Value: "", Metadata: true})
			}
			attributes, metadata, problem := encoder.EncodeObjects(nil, sets, true)
			require.Nil(t, problem)
			if encoder.PutsMetadataInPayload() {
				assert.Equal(t, `{}`, string(attributes.Text))
				attributes = metadata
			}
			assert.Equal(t, "x"+test.want, string(attributes.AppendWithID([]byte("x"), "i")))
		}
	}
}

// The objects are what maps would hold, whatever is shared and replaced.
func TestEncodeObjectsMerges(t *testing.T) {
	encoders := []*Encoder{NewEncoder(nil, false), NewEncoder(nil, true)}
	for range 2000 {
		inPayload := rand.IntN(2)
		shared, attributes, metadata := map[string]any{}, map[string]string{}, map[string]string{}
		for range rand.IntN(5) {
			shared[strconv.Itoa(rand.IntN(6))] = "shared"
		}
		for name := range shared {
			metadata[name] = "shared"
		}
		var sets []AttributeSet
		for i := range rand.IntN(20) {
			set := AttributeSet{Single: true, Name: strconv.Itoa(rand.IntN(30)), Value: i, Metadata: rand.IntN(2) == 0}
			if rand.IntN(3) == 0 {
				set.Single, set.Many = false, map[string]any{set.Name: i}
			}
			sets = append(sets, set)
			if set.Metadata || inPayload == 0 {
				metadata[set.Name] = strconv.Itoa(i)
			} else {
				attributes[set.Name] = strconv.Itoa(i)
			}
		}
		for name := range attributes {
			delete(metadata, name)
		}
		if inPayload == 0 {
			attributes, metadata = metadata, attributes
		}
		a, m, problem := encoders[inPayload].EncodeObjects(EncodeAttributes(shared), sets, false)
		require.Nil(t, problem)
		for want, got := range map[*map[string]string][]byte{&attributes: a.Text, &metadata: m.Text} {
			text, err := json.Marshal(*want) // with sorted keys
			require.NoError(t, err)
			require.Equal(t, string(text), string(got))
		}
	}
}
