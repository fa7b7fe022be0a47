package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	namedString string
	namedInt    int16
	namedUint   uint8
	namedFloat  float32
	namedBool   bool
	selfPointer *selfPointer
	withNilURL  struct{ *url.URL }
)

// level has the methods of all three kinds of text.
type level int

func (level) MarshalText() ([]byte, error) { return []byte("marshaled"), nil }
func (level) String() string               { return "stringed" }
func (level) Error() string                { return "errored" }

// speaking has a text and is an error as well.
type speaking struct{}

func (speaking) String() string { return "stringed" }
func (speaking) Error() string  { return "errored" }

func TestAttributeText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600))
	pointer := func() any { n := 5; p := &n; return &p }()
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"string":          {"<é>", "<é>"},
		"empty":           {"", ""},
		"true":            {true, "true"},
		"false":           {false, "false"},
		"int":             {-5, "-5"},
		"int8":            {int8(-128), "-128"},
		"int64":           {int64(math.MinInt64), "-9223372036854775808"},
		"uint64":          {uint64(math.MaxUint64), "18446744073709551615"},
		"uintptr":         {uintptr(7), "7"},
		"float64":         {0.1, "0.1"},
		"large float64":   {1e21, "1000000000000000000000"},
		"small float64":   {1e-7, "0.0000001"},
		"float32":         {float32(0.1), "0.1"},
		"time":            {at, "2026-01-02T03:04:05.0000006+01:00"},
		"time pointer":    {&at, "2026-01-02T03:04:05.0000006+01:00"},
		"late time":       {&[]time.Time{time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC)}[0], "10001-01-01T00:00:00Z"},
		"duration":        {1500 * time.Millisecond, "1.5s"},
		"json.Number":     {json.Number("1.50"), "1.50"},
		"text marshaler":  {level(1), "marshaled"},
		"its pointer":     {new(level), "marshaled"},
		"stringer":        {speaking{}, "stringed"},
		"error":           {errors.New("failed"), "failed"},
		"big.Int":         {big.NewInt(12), "12"},
		"IP":              {net.IPv4(10, 0, 0, 1), "10.0.0.1"},
		"url":             {&url.URL{Host: "h"}, "//h"},
		"slog level":      {slog.LevelInfo, "INFO"},
		"named string":    {namedString("x"), "x"},
		"named int":       {namedInt(-3), "-3"},
		"named uint":      {namedUint(3), "3"},
		"named float":     {namedFloat(0.1), "0.1"},
		"named bool":      {namedBool(true), "true"},
		"pointer":         {new(string), ""},
		"pointer pointer": {pointer, "5"},
		"named pointer":   {new(namedFloat), "0"},
	} {
		t.Run(name, func(t *testing.T) {
			text, problem := attributeText(test.value)
			require.Empty(t, problem)
			assert.Equal(t, test.want, text)
		})
	}
}

func TestAttributeTextFaults(t *testing.T) {
	var self selfPointer
	self = &self
	var inner *string
	var nothing any
	for name, test := range map[string]struct {
		value   any
		problem string
	}{
		"nil":                    {nil, "is nil"},
		"nil pointer":            {(*string)(nil), "is a nil *string"},
		"nil time":               {(*time.Time)(nil), "is a nil *time.Time"},
		"nil stringer":           {(*url.URL)(nil), "is a nil *url.URL"},
		"nil error":              {(*net.OpError)(nil), "is a nil *net.OpError"},
		"pointer to nil pointer": {&inner, "is a nil *string"},
		"pointer to nil":         {&nothing, "is nil"},
		"pointers without end":   {self, "too many levels of pointers"},
		"method panics":          {withNilURL{}, "is message.withNilURL, whose text method panics"},
		"marshaler fails":        {failingText("SECRET"), "is message.failingText, whose MarshalText fails"},
		"NaN":                    {math.NaN(), "is not a finite number"},
		"infinite":               {float32(math.Inf(1)), "is not a finite number"},
		"bytes":                  {[]byte("SECRET"), "is []uint8; convert it to a string"},
		"list":                   {[]string{"SECRET"}, "is []string, which has no text form"},
		"array":                  {[1]string{"SECRET"}, "is [1]string, which has no text form"},
		"raw":                    {json.RawMessage(`"SECRET"`), "; convert it to a string"},
		"map":                    {map[string]string{"a": "SECRET"}, "is map[string]string, which has no text form"},
		"struct":                 {struct{ A string }{"SECRET"}, "is struct { A string }, which has no text form"},
		"pointer to struct":      {&payloadUser{Name: "SECRET"}, "is message.payloadUser, which has no text form"},
		"function":               {func() {}, "is func(), which has no text form"},
		"channel":                {make(chan int), "is chan int, which has no text form"},
		"complex":                {1i, "is complex128, which has no text form"},
		"UTF-8":                  {"SECRET\xff", "is not valid UTF-8"},
		"UTF-8 of a method":      {errors.New("SECRET\xff"), "is not valid UTF-8"},
		"NUL":                    {"SECRET\x00", "contains a NUL"},
		"NUL of a marshaler":     {textValue{"SECRET\x00"}, "contains a NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, sets := range map[string][]AttributeSet{
				kindAttribute: {many(map[string]any{"a": 1, "user": test.value})},
				kindMetadata:  {{Single: true, Name: "a"}, {Single: true, Name: "a", Value: 1}, {Single: true, Name: "user", Value: test.value, Metadata: true}},
			} {
				for _, encoder := range []*Encoder{NewEncoder(nil, false), NewEncoder(nil, true)} {
					_, _, problem := encoder.EncodeObjects(nil, sets, false)
					assertAttributeFault(t, problem, kind+`["user"]`, test.problem)
				}
			}
			_, _, problem := plainly.EncodeObjects(EncodeAttributes(map[string]any{"a": 1, "user": test.value}), nil, false)
			assertAttributeFault(t, problem, `attributes["user"]`, test.problem)
		})
	}
	for name, test := range map[string]struct{ name, field, problem string }{
		"empty": {"", `attributes[""]`, "has an empty name"},
		"UTF-8": {"a\xff", `attributes["a\xff"]`, "has a name that is not valid UTF-8"},
		"NUL":   {"a\x00", `attributes["a\x00"]`, "has a name that contains a NUL"},
	} {
		t.Run("name "+name, func(t *testing.T) {
			_, _, problem := plainly.EncodeObjects(nil, []AttributeSet{{Single: true, Name: test.name, Value: "SECRET"}}, false)
			assertAttributeFault(t, problem, test.field, test.problem)
		})
	}
}

func assertAttributeFault(t *testing.T, err *Problem, field, problem string) {
	t.Helper()
	require.NotNil(t, err)
	assert.Equal(t, field, err.Path)
	assert.Contains(t, err.Text, problem)
	assert.NotContains(t, err.Error(), "SECRET")
}

// many makes a set of a map.
func many(attributes map[string]any) AttributeSet { return AttributeSet{Many: attributes} }

func TestEncodeAttributes(t *testing.T) {
	type set = map[string]any
	for name, test := range map[string]struct {
		sets []map[string]any
		want string
	}{
		"none":           {nil, `{}`},
		"empty sets":     {[]set{nil, {}}, `{}`},
		"sorted":         {[]set{{"b": 1, "a": true, "ab": "x"}}, `{"a":"true","ab":"x","b":"1"}`},
		"later override": {[]set{{"a": 1, "b": 1}, {"b": 2, "c": 2}, nil, {"c": 3}}, `{"a":"1","b":"2","c":"3"}`},
		"all overridden": {[]set{{"a": 1}, {"a": 2}}, `{"a":"2"}`},
		"one of several": {[]set{nil, {"a": 1}, {}}, `{"a":"1"}`},
		"bad overridden": {[]set{{"a": nil}, {"a": "x"}}, `{"a":"x"}`},
		"escaped":        {[]set{{"a\"\\": "<&>\u2028\n\r\t\b\x1f\x7f/é😀\ufffd"}}, "{\"a\\\"\\\\\":\"<&>\u2028\\n\\r\\t\\u0008\\u001f\x7f/é😀\ufffd\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprint(test.sets)
			var sets, singly []AttributeSet
			for _, set := range test.sets {
				sets = append(sets, many(set))
				for name, value := range set {
					singly = append(singly, AttributeSet{Single: true, Name: name, Value: value})
				}
			}
			encoded, err := encodeAttributes(sets...)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(encoded))
			encoded, err = encodeAttributes(singly...)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(encoded), "given one by one")
			assert.Equal(t, before, fmt.Sprint(test.sets), "the callers' maps stay as they are")
		})
	}
}

func TestEncodeAttributesSharesNothingThatAppendWrites(t *testing.T) {
	encoded, err := encodeAttributes()
	require.NoError(t, err)
	_ = append(encoded, "SECRET"...)
	assert.Equal(t, len(encoded), cap(encoded))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = encodeAttributes(AttributeSet{}, AttributeSet{}) }))
}

func FuzzEncodeAttributes(f *testing.F) {
	for _, seed := range []string{"", "a", "\x00", "\xff", "\"\\\n\x1f\u2028\u2029", "é😀\ufffd"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		encoded, err := encodeAttributes(AttributeSet{Single: true, Name: name, Value: value})
		if err != nil {
			require.Error(t, err)
			good := name != "" && utf8.ValidString(name+"|"+value) && !strings.ContainsRune(name+value, 0)
			require.False(t, good)
			return
		}
		var decoded map[string]string
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		require.Equal(t, map[string]string{name: value}, decoded)
	})
}

func BenchmarkEncodeAttributes(b *testing.B) {
	base := map[string]any{"source": "orders", "tenant": 42}
	added := map[string]any{"trace": "0197f0c2-7d4c-7b3a", "retry": false}
	b.Run("one set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encodeAttributes(many(base))
		}
	})
	b.Run("one attribute", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encodeAttributes(AttributeSet{Single: true, Name: "tenant", Value: "acme"})
		}
	})
	b.Run("two sets", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encodeAttributes(many(base), many(added))
		}
	})
}
