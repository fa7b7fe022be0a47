package message

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

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

func BenchmarkEncodeObjects(b *testing.B) {
	two := []AttributeSet{{Single: true, Name: "source", Value: "shop"}, {Single: true, Name: "region", Value: "north"}}
	for name, sets := range map[string][]AttributeSet{
		"two":           two,
		"map of two":    {{Many: map[string]any{"source": "shop", "region": "north"}}},
		"text and int":  {{Single: true, Name: "source", Value: "shop"}, {Single: true, Name: "tenant", Value: 4711}},
		"a trace":       {{Single: true, Name: "traceparent", Value: "00-01000000000000000000000000000000-0200000000000000-01", Metadata: true}},
		"two and trace": append([]AttributeSet{{Single: true, Name: "traceparent", Value: "00-01000000000000000000000000000000-0200000000000000-01", Metadata: true}}, two...),
	} {
		b.Run(name, func(b *testing.B) {
			encoder := NewEncoder(nil, true)
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = encoder.EncodeObjects(nil, sets, false)
			}
		})
	}
}

// An encoder that has encoded the same attributes a moment ago gives what a new
// one does, also when only the type, the kind or the place of a value differs.
func TestEncodeObjectsRepeats(t *testing.T) {
	changing := "first"
	values := []any{1, "1", int64(1), true, "true", false, 0, "", time.Second, "1s", time.Duration(1), 1.0, namedString("1"), &changing}
	reused := map[string]any{}
	set := func() AttributeSet {
		s := AttributeSet{Single: true, Name: string(rune('a' + rand.IntN(2))), Value: values[rand.IntN(len(values))], Metadata: rand.IntN(4) == 0}
		switch rand.IntN(6) {
		case 0:
			s.Single, s.Many = false, map[string]any{s.Name: s.Value}
		case 1:
			s.Single, s.Many = false, map[string]any{"a": s.Value, "b": values[rand.IntN(len(values))]}
		case 2:
			reused[s.Name] = s.Value
			s.Single, s.Many = false, reused
		case 3:
			s.Name = IDName
		}
		return s
	}
	encoders := []*Encoder{NewEncoder(nil, false), NewEncoder(nil, true)}
	var kept, wanted [][]byte
	for range 20_000 {
		var sets []AttributeSet
		for range rand.IntN(3) {
			sets = append(sets, set())
		}
		which, identified := rand.IntN(2), rand.IntN(2) == 0
		for range 1 + rand.IntN(2) {
			changing += "x"
			changing = changing[len(changing)/20:]
			a, m, problem := encoders[which].EncodeObjects(nil, sets, identified)
			wantA, wantM, wantProblem := NewEncoder(nil, which == 1).EncodeObjects(nil, sets, identified)
			require.Equal(t, wantProblem, problem)
			require.Equal(t, string(wantA.Text), string(a.Text))
			require.Equal(t, string(wantM.Text), string(m.Text))
			require.Equal(t, string(wantA.AppendWithID(nil, "i")), string(a.AppendWithID(nil, "i")))
			require.Equal(t, string(wantM.AppendWithID(nil, "i")), string(m.AppendWithID(nil, "i")))
			kept, wanted = append(kept, a.Text), append(wanted, wantA.Text)
		}
	}
	assert.Equal(t, wanted, kept, "attributes are never modified")
}

// What an encoder remembers is bounded, and no part of the app's texts.
func TestEncodeObjectsRemembersLittle(t *testing.T) {
	encoder := NewEncoder(nil, true)
	large := strings.Repeat("x", 1<<20)
	for i := range 100 {
		sets := []AttributeSet{{Single: true, Name: "a", Value: large[:1000+i]}, {Single: true, Name: "m", Value: large, Metadata: i%2 == 0}}
		for j := range 1000 {
			sets = append(sets, AttributeSet{Single: true, Name: strconv.Itoa(j), Value: j})
		}
		_, _, problem := encoder.EncodeObjects(nil, sets, false)
		require.Nil(t, problem)
		encoder.Reset()
	}
	assert.LessOrEqual(t, cap(encoder.repeat.text), 2*maxRepeatBytes)
	assert.LessOrEqual(t, cap(encoder.repeat.inputs), 2*maxRepeatInputs)
	for _, text := range encoder.recent.texts {
		assert.LessOrEqual(t, len(text), maxRecentBytes)
	}
	assert.LessOrEqual(t, cap(encoder.members), maxKeptMembers)
	for _, m := range encoder.members[:cap(encoder.members)] {
		assert.Zero(t, m)
	}
}
